"""Where the caches of this user lie."""

from __future__ import annotations

from pathlib import Path


def user_cache(xdg_cache_home: str | Path | None) -> Path:
    """Returns the folder of all caches, from the value of `XDG_CACHE_HOME`."""
    return Path(xdg_cache_home or Path.home() / ".cache")
