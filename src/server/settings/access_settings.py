"""Every variable about who may call."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from ...environment import ExpandedPath, Settings, setting

_NONE = "none"
RESOURCES = ("metrics", "reflection", "swagger")


class AccessSettings(Settings):
    """Which keys there are, and what needs none."""

    api_keys_file: ExpandedPath | None = setting(
        "LLM_API_KEYS_FILE",
        None,
        description="API keys of callers, hashed; unset: everyone may call",
        takes="a TOML file, of lines that tokenwire keys new prints",
    )
    api_keys_open: tuple[str, ...] = setting(
        "LLM_API_KEYS_OPEN",
        ("swagger",),
        description="What needs no key where keys are in force; health never does",
        takes=f"{', '.join(RESOURCES)} separated by commas, or {_NONE}",
        empty_text=_NONE,
    )

    @field_validator("api_keys_open", mode="before")
    @classmethod
    def _parse_open(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        if names == (_NONE,):
            return ()
        for name in names:
            if name not in RESOURCES:
                raise ValueError(f"takes {', '.join(RESOURCES)} or {_NONE}")
        return names

    @model_validator(mode="after")
    def _keys_have_a_file(self) -> Self:
        if self.api_keys_file is None and "api_keys_open" in self.model_fields_set:
            raise ValueError(
                "LLM_API_KEYS_OPEN is set, but LLM_API_KEYS_FILE is not: everyone may call"
            )
        return self
