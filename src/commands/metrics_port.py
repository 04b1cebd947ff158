"""How front and edge of one `tokenwire serve` meet at the front's metrics."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from ..edge.config import EdgeConfig
from ..environment import ConfigurationError
from ..server.settings.server_config import ServerConfig


@dataclass(frozen=True, slots=True)
class MetricsPort:
    """What the two processes are told: the front, where it listens; the edge, whom it asks."""

    server_arguments: tuple[str, ...] = ()
    server_fds: tuple[int, ...] = ()
    edge_environment: dict[str, str] = field(default_factory=dict[str, str])


@contextmanager
def open_metrics_port(server: ServerConfig, edge: EdgeConfig) -> Generator[MetricsPort]:
    """Finds the port where the front's may be any free one: the edge has to know it.

    This process then listens at it, and the front takes over the socket: so no other program gets
    the port while the front is started again.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    hostname = server.metrics_hostname
    if server.metrics_port:
        yield MetricsPort(edge_environment=_target(edge, hostname, server.metrics_port))
        return
    try:
        listening = socket.create_server((hostname, 0), family=_family_of(hostname))
    except OSError as error:
        problem = f"LLM_METRICS_HOSTNAME: cannot listen on {hostname}: {error.strerror}"
        raise ConfigurationError([problem]) from error
    with closing(listening):
        fd = listening.fileno()
        port = int(listening.getsockname()[1])
        yield MetricsPort(("--metrics-socket", str(fd)), (fd,), _target(edge, hostname, port))


def _target(edge: EdgeConfig, hostname: str, port: int) -> dict[str, str]:
    if "metrics_target" in edge.model_fields_set:
        return {}  # the operator knows better
    return {"LLM_METRICS_TARGET": f"http://{_reachable(hostname)}:{port}/metrics"}


def _reachable(hostname: str) -> str:
    """Returns where a listener at `hostname` is found from this machine."""
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return hostname
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"[{address}]" if address.version == 6 else str(address)


def _family_of(hostname: str) -> socket.AddressFamily:
    return socket.getaddrinfo(hostname, 0, type=socket.SOCK_STREAM)[0][0]
