"""The Unix socket where front and edge of one `tokenwire serve` meet."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..private_folders import PrivateFolder
from ..server.settings.server_config import ServerConfig


@contextmanager
def socket_between(server: ServerConfig) -> Generator[Path | None]:
    """Names the socket; None: they meet at the port.

    With TLS they always meet at one, so that neither the name in the certificate nor its end hurts
    the edge, and it needs no certificate to show.
    """
    if server.grpc_socket is not None or not server.server_ssl_enabled:
        yield server.grpc_socket
        return
    folder = PrivateFolder.make()
    try:
        yield folder.path / "grpc.sock"
    finally:
        folder.remove()
