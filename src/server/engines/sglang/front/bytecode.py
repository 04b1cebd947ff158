"""Where Python keeps what it compiles of SGLang: thousands of files, in each of three processes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from ....contract.user_cache import user_cache

VARIABLE = "PYTHONPYCACHEPREFIX"
PROBE = Path("srt", "server_args.py")
"""A large module that every process of SGLang imports."""


def bytecode_environment(package: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Sends bytecode to the user's cache where it is missing and cannot be kept beside the code.

    `package` is SGLang's folder. Nothing is sent elsewhere where the install compiled it: with a
    place of its own Python no longer looks beside the code, where all other packages have theirs.
    """
    compiled = Path(importlib.util.cache_from_source(str(package / PROBE)))
    if VARIABLE in environment or compiled.exists() or os.access(package, os.W_OK):
        return {}
    cache = user_cache(environment.get("XDG_CACHE_HOME"))
    return {VARIABLE: str(cache / "tokenwire" / "bytecode")}
