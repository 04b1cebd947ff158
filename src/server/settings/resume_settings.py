"""Every variable about requests that go on without their callers."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ...environment import Settings, setting


class ResumeSettings(Settings):
    """How long requests wait for callers who left, and how much of them is kept."""

    max_detach_s: float = setting(
        "LLM_MAX_DETACH_S",
        600.0,
        ge=0,
        le=86_400,
        description="Longest detach_timeout, in seconds; 0: requests end with their callers",
    )
    resume_bytes: int = setting(
        "LLM_RESUME_BYTES",
        4 * 1024 * 1024,
        ge=64 * 1024,
        le=16 * 1024 * 1024,
        description="Bytes that are kept of what one request with a detach_timeout said",
    )
    max_resume_bytes: int = setting(
        "LLM_MAX_RESUME_BYTES",
        256 * 1024 * 1024,
        ge=64 * 1024,
        le=64 * 1024 * 1024 * 1024,
        description="Bytes that are kept of all of them together",
    )

    @model_validator(mode="after")
    def _one_has_room(self) -> Self:
        if self.resume_bytes > self.max_resume_bytes:
            raise ValueError(
                f"LLM_RESUME_BYTES is {self.resume_bytes}, more than LLM_MAX_RESUME_BYTES, "
                f"{self.max_resume_bytes}"
            )
        return self
