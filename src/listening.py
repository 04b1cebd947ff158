"""Whether an address can be listened on, and who hears what is said there."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

import structlog

_logger = structlog.get_logger(__name__)

MAX_SOCKET_PATH_BYTES = 107
"""What the address of a Unix socket holds on Linux, less the zero at its end."""

_BACKLOG = 1


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that the service listens on, with the variables that choose it."""

    hostname_variable: str
    hostname: str
    port_variable: str
    port: int


def find_problem(listener: Listener) -> str | None:
    """Tries to listen, and lets go again; returns what is wrong, naming the variable."""
    try:
        places = socket.getaddrinfo(
            listener.hostname, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        return f"{listener.hostname_variable}: '{listener.hostname}': {error.strerror}"
    for family, kind, protocol, _, address in places:
        try:
            with socket.socket(family, kind, protocol) as probe:
                # As the servers do: a connection that lingers does not hold a port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(_BACKLOG)
        except OSError as error:
            code = error.errno or 0
            is_foreign = code in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            variable = listener.hostname_variable if is_foreign else listener.port_variable
            reason = os.strerror(code).lower()
            return f"{variable}: cannot listen on {listener.hostname}:{listener.port}: {reason}"
    return None


def is_loopback(hostname: str) -> bool:
    """Whether only this machine can reach what listens on a host's name or address."""
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def warn_of_plaintext_keys(hostname: str) -> None:
    """Warns where keys come in plain text, and from other machines."""
    if not is_loopback(hostname):
        _logger.warning(
            "keys_over_plaintext",
            hostname=hostname,
            advice="set SERVER_SSL_ENABLED, or listen on 127.0.0.1 behind what ends TLS",
        )
