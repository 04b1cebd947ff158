"""Whether an address can be listened on."""

from __future__ import annotations

import socket

import pytest
from tokenwire.listening import Listener, find_problem, is_loopback


def listener(hostname: str, port: int) -> Listener:
    """An address under the names of gRPC's variables."""
    return Listener("LLM_GRPC_HOSTNAME", hostname, "LLM_GRPC_PORT", port)


def test_free_addresses_have_no_problem() -> None:
    """A free port can be listened on, and is free again afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert find_problem(listener("127.0.0.1", port)) is None
    assert find_problem(listener("127.0.0.1", port)) is None
    assert find_problem(listener("0.0.0.0", 0)) is None


def test_taken_port_names_the_port_variable() -> None:
    """A port that another socket listens on is told by the port's variable, with the reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problem = find_problem(listener("127.0.0.1", port))
    assert problem == f"LLM_GRPC_PORT: cannot listen on 127.0.0.1:{port}: address already in use"


def test_foreign_address_names_the_hostname_variable() -> None:
    """An address of another machine is told by the hostname's variable."""
    problem = find_problem(listener("192.0.2.1", 0))
    assert problem is not None
    assert problem.startswith("LLM_GRPC_HOSTNAME: cannot listen on 192.0.2.1:0: ")


def test_unknown_name_names_the_hostname_variable() -> None:
    """So is a name that is no address."""
    problem = find_problem(listener("nohost.invalid", 0))
    assert problem is not None
    assert problem.startswith("LLM_GRPC_HOSTNAME: 'nohost.invalid': ")


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(hostname: str) -> None:
    """Addresses that only this machine reaches."""
    assert is_loopback(hostname)


@pytest.mark.parametrize("hostname", ["0.0.0.0", "::", "10.0.0.1", "gpu-1", "localhost.example"])
def test_not_loopback(hostname: str) -> None:
    """All others; a name that says nothing is taken for one of them."""
    assert not is_loopback(hostname)
