"""The entry point by which every process of SGLang learns our quantisation (`pyproject.toml`)."""

from __future__ import annotations

import os
from typing import Final

ASKED_VARIABLE: Final = "TOKENWIRE_SGLANG_ISQ"
"""Set by the host for its own processes. Without it the plugin does nothing: SGLang calls it in
every process of an environment where this package is installed, whoever started it."""

PLUGIN_NAME: Final = "tokenwire"


def register() -> None:
    """Offers our methods to SGLang where the host asked for them."""
    if ASKED_VARIABLE in os.environ:
        from .method import offer  # noqa: PLC0415 - imports SGLang

        offer()
