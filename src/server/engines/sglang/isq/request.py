"""How the host makes SGLang quantise on a CPU, and makes sure that it can."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

from .outcome import METHOD_NAMES, IsqFailed
from .plugin import ASKED_VARIABLE, PLUGIN_NAME

PLUGINS_VARIABLE: Final = "SGLANG_PLUGINS"
"""Names the plugins that SGLang may load, by comma; unset: all."""


def request_isq(quantization: str) -> str:
    """Has our plugin loaded in this process and in its children.

    Returns the name that SGLang's argument `quantization` takes for it. `quantization` is one of
    `METHOD_NAMES`. Must run before an engine is made.

    Raises:
        IsqFailed: the plugin was not found, or failed; SGLang itself only logs that.
    """
    os.environ[ASKED_VARIABLE] = quantization
    allowed = os.environ.get(PLUGINS_VARIABLE)
    if allowed and PLUGIN_NAME not in allowed.split(","):
        os.environ[PLUGINS_VARIABLE] = f"{allowed},{PLUGIN_NAME}"
    import_module("sglang.srt.plugins").load_plugins()
    name = METHOD_NAMES[quantization]
    if name not in import_module("sglang.srt.layers.quantization").QUANTIZATION_METHODS:
        raise IsqFailed(
            f"the weights were to be quantised to {quantization}, but SGLang did not load the "
            f"plugin '{PLUGIN_NAME}': install this package anew, so that its entry point in the "
            "group 'sglang.srt.plugins' is found"
        )
    return name
