"""The command `tokenwire`."""

from __future__ import annotations

import os
import sys

_SERVICES = (["serve"], ["server"], ["edge"])

# Each command imports what it needs when it runs: a probe that starts every few seconds loads no
# server, and the server no terminal.


def main() -> None:
    """Runs the command that the arguments name, and ends the process with its status."""
    arguments = sys.argv[1:]
    # Read when gRPC is imported. Only where standard error is ours do its lines become events; and
    # this process starts others, but never goes on as a copy of itself.
    verbosity = "ERROR" if arguments[:1] in _SERVICES else "NONE"
    os.environ.setdefault("GRPC_VERBOSITY", verbosity)
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    if arguments[:1] == ["healthcheck"]:
        from .commands import healthcheck  # noqa: PLC0415 - see above

        sys.exit(healthcheck.main(arguments[1:]))

    from .commands.tree import app  # noqa: PLC0415 - see above
    from .environment import EXIT_CONFIGURATION, ConfigurationError  # noqa: PLC0415 - see above

    try:
        app()
    except ConfigurationError as error:
        plural = "" if len(error.problems) == 1 else "s"
        sys.stderr.write(f"The configuration has {len(error.problems)} mistake{plural}:\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in error.problems)
        sys.exit(EXIT_CONFIGURATION)
