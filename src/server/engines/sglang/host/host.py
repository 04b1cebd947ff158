"""The process that owns SGLang: `python -m tokenwire.server.engines.sglang.host.host FD`.

SGLang's own children import this module again (spawn), so nothing heavy stands at its top.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Serves the front at the other end of the inherited socket."""
    from . import runtime  # noqa: PLC0415 - imported here to keep the children's start short

    runtime.serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
