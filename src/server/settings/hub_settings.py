"""Every variable about the hub that files come from, and about where they are kept.

Most are those of `huggingface_hub`, by its rules, so that all tools of a machine share one cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, field_validator

from ...environment import ExpandedPath, HttpAddress, Settings, setting
from ..contract.user_cache import user_cache


def _hf_home(fields: Mapping[str, Any]) -> Path:  # Any: fields of every type
    home: Path | None = fields["hf_home"]
    return home or user_cache(fields["xdg_cache_home"]) / "huggingface"


def _token_of_file(fields: Mapping[str, Any]) -> SecretStr | None:
    """Reads what `hf auth login` wrote."""
    file: Path = fields["hf_token_path"] or _hf_home(fields) / "token"
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None  # most models need none; for the others the hub says so
    return SecretStr(token) if token else None


class HubSettings(Settings):
    """The part of the configuration that decides where files are fetched from, and kept."""

    xdg_cache_home: ExpandedPath | None = setting(
        "XDG_CACHE_HOME",
        None,
        description="Folder of all caches; unset: ~/.cache",
        takes="a folder",
    )
    hf_home: ExpandedPath | None = setting(
        "HF_HOME",
        None,
        description="Folder of Hugging Face's tools; unset: huggingface in XDG_CACHE_HOME",
        takes="a folder",
    )
    hf_hub_cache: ExpandedPath | None = setting(
        "HF_HUB_CACHE",
        None,
        description="Folder of the hub's cache; unset: hub in HF_HOME",
        takes="a folder",
    )
    hf_endpoint: HttpAddress | None = setting(
        "HF_ENDPOINT",
        None,
        description="Address of the hub or of a mirror; unset: the public hub",
        takes="an http or https address",
    )
    hf_token_path: ExpandedPath | None = setting(
        "HF_TOKEN_PATH",
        None,
        description="File that hf auth login writes the token into; unset: token in HF_HOME",
        takes="a file",
    )
    hf_token: SecretStr | None = setting(
        "HF_TOKEN",
        default_factory=_token_of_file,
        default_text="",
        description="Token for gated models; unset: what HF_TOKEN_PATH holds",
        takes="a token of the hub",
    )
    hf_hub_offline: bool = setting(
        "HF_HUB_OFFLINE", False, description="Never downloads; models must be on this machine"
    )
    # Whole numbers: huggingface_hub, which SGLang loads, cannot read others.
    hf_hub_etag_timeout: int = setting(
        "HF_HUB_ETAG_TIMEOUT",
        10,
        ge=1,
        le=86_400,
        description="Longest wait for a hub to list files or describe one, in seconds",
    )
    hf_hub_download_timeout: int = setting(
        "HF_HUB_DOWNLOAD_TIMEOUT",
        30,
        ge=1,
        le=86_400,
        description="Longest wait for the next bytes of a download, in seconds",
    )
    ssl_cert_file: Path | None = setting(
        "SSL_CERT_FILE",
        None,
        description="Certificate authorities that downloads trust",
        takes="a PEM file",
    )

    @field_validator("ssl_cert_file")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @property
    def hub_cache(self) -> Path:
        """The folder of the hub's cache, where `huggingface_hub` has it, too."""
        return self.hf_hub_cache or _hf_home(dict(self)) / "hub"
