"""What the processes of the service load before they serve."""

from __future__ import annotations

import subprocess
import sys

PROCESSES = "tokenwire.commands.start, tokenwire.server.app, tokenwire.edge.app"
LIBRARIES = ("opentelemetry", "cryptography", "PIL", "llguidance", "xllamacpp", "torch", "typer")


def test_nothing_is_imported_for_what_is_off() -> None:
    """Traces, TLS, images and constraints cost who has none neither memory nor time.

    Takes a second: a process.
    """
    code = f"import sys, {PROCESSES}; print([it for it in {LIBRARIES} if it in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_is_imported_is_out_of_the_collectors_sight() -> None:
    """Before a process serves; otherwise all of its streams stand still at a full collection."""
    code = (
        f"import gc, {PROCESSES}\n"
        "before = len(gc.get_objects())\n"
        "async def main():\n"
        "    print(gc.get_freeze_count() > before * 0.9, len(gc.get_objects()) < before / 10)\n"
        "tokenwire.commands.start._run(main())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
