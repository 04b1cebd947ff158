"""The entry point by which every process of SGLang learns what is ours (`pyproject.toml`)."""

from __future__ import annotations

import os
from typing import Final

from .. import earlier_penalties, grammar_backend

ASKED_VARIABLE: Final = "TOKENWIRE_SGLANG_ISQ"
"""Set by the host for its own processes. Without it the plugin does nothing: SGLang calls it in
every process of an environment where this package is installed, whoever started it."""

PLUGIN_NAME: Final = "tokenwire"


def register() -> None:
    """Offers what is ours to SGLang where the host or the front asked."""
    if ASKED_VARIABLE in os.environ:
        from .method import offer  # noqa: PLC0415 - imports SGLang

        offer()
    if grammar_backend.ASKED_VARIABLE in os.environ:
        grammar_backend.offer()
        earlier_penalties.offer()
