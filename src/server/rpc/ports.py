"""Where and how gRPC listens: a port, in TLS or without, and a Unix socket inside this machine."""

from __future__ import annotations

from pathlib import Path

import grpc

from ...environment import ConfigurationError
from ...listening import MAX_SOCKET_PATH_BYTES, Listener, find_problem
from ..settings.fixed_limits import (
    MAX_CONCURRENT_STREAMS,
    MAX_METADATA_BYTES,
    MAX_PENDING_CALLS,
)


def server_options(max_message_bytes: int, max_connections: int) -> list[tuple[str, int]]:
    """Returns how a gRPC server treats connections, calls and messages.

    Each place where it listens may have `max_connections`: what is open at the port takes none of
    the Unix socket's.
    """
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls
        # Pings of proxies are welcome; without data, too.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        # A frozen client under a live stream is found after these two: without
        # ping_timeout_ms it took a minute more.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]


def open_port(
    server: grpc.aio.Server, listener: Listener, credentials: grpc.ServerCredentials | None
) -> int:
    """Adds a port to a server that has not started, and returns its number.

    Without `credentials` it is in plaintext.

    Raises:
        ConfigurationError: it cannot be listened on.
    """
    address = f"{listener.hostname}:{listener.port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        # gRPC does not say why.
        problem = find_problem(listener)
        if problem is None and credentials is not None:
            problem = f"TLS_SERVER_CERT_PATH: gRPC cannot use the pair to listen on {address}"
        raise ConfigurationError(
            [problem or f"{listener.port_variable}: cannot listen on {address}"]
        ) from error


def open_socket(server: grpc.aio.Server, path: Path) -> None:
    """Adds a Unix socket, in plaintext, which processes of the same user alone can call.

    A folder that is missing is made for this user alone, too. A socket that is left over there is
    replaced.

    Raises:
        ConfigurationError: it cannot be listened on.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _socket_problem(path, (error.strerror or str(error)).lower()) from error
    if len(bytes(path.absolute())) > MAX_SOCKET_PATH_BYTES:
        raise _socket_problem(path, f"a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes")
    try:
        server.add_insecure_port(f"unix:{path.absolute()}")
        path.chmod(0o600)
    except RuntimeError as error:
        raise _socket_problem(path, "no file can be made there, or another is") from error


def _socket_problem(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError([f"LLM_GRPC_SOCKET: cannot listen on {path}: {why}"])
