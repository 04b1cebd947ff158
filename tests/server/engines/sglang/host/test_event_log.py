"""Events of the host come whole to standard error."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging
from tokenwire.server.engines.sglang.host.event_log import log_events
log_events()
logging.basicConfig(format="[SGLang] %(message)s", force=True)
own = logging.getLogger("tokenwire.server.engines.sglang.host.host_server")
own.warning("left_out", extra={"arguments": ("a", "b")})
try:
    raise ValueError("deep")
except ValueError:
    own.exception("failed", extra={"request_id": "r1"})
logging.getLogger("sglang.srt").warning("theirs")
"""


def test_fields_are_kept() -> None:
    """Fields stand behind an event's name, once, whatever SGLang sets up for its own lines."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    name = "tokenwire.server.engines.sglang.host.host_server"
    assert lines[0] == f"WARNING {name}: left_out arguments=('a', 'b')"
    assert lines[1] == f"ERROR {name}: failed request_id='r1'"
    assert lines[-2:] == ["ValueError: deep", "[SGLang] theirs"]
