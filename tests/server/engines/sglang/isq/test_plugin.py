"""The plugin is loaded by every process of SGLang, and does nothing unless it is asked."""

from __future__ import annotations

import os
import subprocess
import sys

from tokenwire.server.engines.sglang.isq.plugin import ASKED_VARIABLE


def test_plugin_does_nothing_unasked() -> None:
    """In a process that nobody asked to quantise the plugin imports neither torch nor SGLang."""
    program = (
        "import sys; from tokenwire.server.engines.sglang.isq.plugin import register; register(); "
        "print(sorted({'torch', 'sglang'} & sys.modules.keys()))"
    )
    environment = {name: value for name, value in os.environ.items() if name != ASKED_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
