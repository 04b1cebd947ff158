"""How many files a process may have open, of which each connection is one."""

from __future__ import annotations

import resource

import structlog

_logger = structlog.get_logger(__name__)

# What a process has open beside its connections, and what is just being refused.
_OTHER_FILES = 128


def files_for(max_connections: int) -> int:
    """Lets this process open that many connections; returns how many of them it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return max_connections
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    allowed = max(1, possible - _OTHER_FILES)
    if allowed < max_connections:
        _logger.warning(
            "few_files_allowed", max_connections=allowed, wanted=max_connections, files=hard
        )
    return min(max_connections, allowed)
