"""The Unix socket where front and edge of one `tokenwire serve` meet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..listening import MAX_SOCKET_PATH_BYTES
from ..private_folders import PREFIX, PrivateFolder
from ..server.settings.server_config import ServerConfig

_NAME = "grpc.sock"
_FOLDER = f"{PREFIX}{'x' * 8}"  # as long as what `tempfile` makes of the prefix
_VARIABLES = ("TMPDIR", "TEMP", "TMP")  # in the order in which `tempfile` asks them


@contextmanager
def socket_between(server: ServerConfig) -> Generator[Path | None]:
    """Names the socket; None: they meet at the port.

    With TLS they always meet at one, so that neither the name in the certificate nor its end hurts
    the edge, and it needs no certificate to show.
    """
    if not _needs_folder(server):
        yield server.grpc_socket
        return
    folder = PrivateFolder.make()
    try:
        yield folder.path / _NAME
    finally:
        folder.remove()


def find_problem_between(server: ServerConfig) -> str | None:
    """Says what is wrong where the socket would have too long a path, naming the variable."""
    if not _needs_folder(server):
        return None
    root = tempfile.gettempdir()
    num_bytes = len(os.fsencode(Path(root, _FOLDER, _NAME)))
    if num_bytes <= MAX_SOCKET_PATH_BYTES:
        return None
    variable = next((name for name in _VARIABLES if os.environ.get(name)), _VARIABLES[0])
    most = len(os.fsencode(root)) - (num_bytes - MAX_SOCKET_PATH_BYTES)
    return (
        f"{variable}: takes a folder of at most {most} bytes, so that the path of the socket "
        f"between front and edge has at most {MAX_SOCKET_PATH_BYTES}, got '{root}'; "
        "or name a socket with LLM_GRPC_SOCKET"
    )


def _needs_folder(server: ServerConfig) -> bool:
    return server.grpc_socket is None and server.server_ssl_enabled
