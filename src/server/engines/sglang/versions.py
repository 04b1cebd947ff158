"""Where the supported versions of SGLang differ: 0.5.17 to 0.5.23.

Compared were the argument lists of 0.5.17 to 0.5.23 and what the host uses of them; 0.5.17 and
0.5.23 were run. Whatever else moves with a release belongs here, too.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

FIRST_WITH_CPU_PAGES: Final = (0, 5, 22)
"""Before, a KV cache with pages of more than one token is allocated by a Triton kernel, which a
CPU does not run: the scheduler dies at the first prompt (`mem_cache/allocator/paged.py`)."""

ONLY_TUNES: Final = frozenset(
    {
        # The service hands no addresses to SGLang; these are a second lock. Missing in 0.5.17.
        "allowed_media_domains",
        "media_url_max_file_size_mb",
        # The count of running requests is then older.
        "load_snapshot_publish_interval",
        # An engine with nothing to do then keeps a core busy.
        "sleep_on_idle",
        # Its own series are then missing.
        "enable_metrics",
        "watchdog_timeout",
    }
)
"""Arguments that a version may lack without any answer being another."""


class MissingArgument(Exception):
    """The installed SGLang lacks an argument that decides something. For the operator."""


@dataclass(frozen=True, slots=True)
class FittedArguments:
    """Arguments that the installed SGLang has, and the names of those left out."""

    arguments: dict[str, Any]
    left_out: tuple[str, ...]


def installed_version() -> str:
    """Returns the version of SGLang beside this package; empty where it is not installed."""
    try:
        return importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_cpu_pages(version: str) -> bool:
    """Returns whether a KV cache on a CPU can have pages of more than one token."""
    return _numbers(version) >= FIRST_WITH_CPU_PAGES


def fit_arguments(
    arguments: Mapping[str, Any], known: Collection[str], version: str
) -> FittedArguments:
    """Leaves out what the installed SGLang lacks and what only tunes.

    Raises:
        MissingArgument: it lacks something that decides what is computed or answered.
    """
    missing = sorted(arguments.keys() - set(known))
    deciding = [name for name in missing if name not in ONLY_TUNES]
    if deciding:
        raise MissingArgument(
            f"SGLang {version} has no argument {', '.join(deciding)}; SGLang 0.5.17 to 0.5.23 are "
            "supported"
        )
    fitted = {name: value for name, value in arguments.items() if name not in missing}
    return FittedArguments(fitted, tuple(missing))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
