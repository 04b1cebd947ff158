"""Where the edge of one `tokenwire serve` finds the front's metrics."""

from __future__ import annotations

import socket

import pytest
from tokenwire.commands.metrics_port import open_metrics_port
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError
from tokenwire.server.settings.server_config import ServerConfig


def configured(**values: str) -> tuple[ServerConfig, EdgeConfig]:
    server = ServerConfig.model_validate({"LLM_ALLOWED_MODELS": "owner/model", **values})
    return server, EdgeConfig.model_validate(values)


@pytest.mark.parametrize(
    ("hostname", "target"),
    [
        ("127.0.0.1", "http://127.0.0.1:9464/metrics"),
        ("0.0.0.0", "http://127.0.0.1:9464/metrics"),
        ("::", "http://[::1]:9464/metrics"),
        ("10.1.2.3", "http://10.1.2.3:9464/metrics"),
        ("front.example", "http://front.example:9464/metrics"),
    ],
)
def test_edge_asks_where_the_front_listens(hostname: str, target: str) -> None:
    """The edge is told an address where the front's listener is found from this machine."""
    with open_metrics_port(*configured(LLM_METRICS_HOSTNAME=hostname)) as port:
        assert port.edge_environment == {"LLM_METRICS_TARGET": target}
        assert port.server_fds == ()


def test_any_free_port_is_known() -> None:
    """With port 0 this process listens, and hands the socket on."""
    with open_metrics_port(*configured(LLM_METRICS_PORT="0")) as port:
        (fd,) = port.server_fds
        assert port.server_arguments == ("--metrics-socket", str(fd))
        number = int(port.edge_environment["LLM_METRICS_TARGET"].split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", number)):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number))


def test_what_the_operator_set_stays() -> None:
    """A target of the operator's own is not changed."""
    own = "http://proxy.example/front"
    with open_metrics_port(*configured(LLM_METRICS_TARGET=own)) as port:
        assert port.edge_environment == {}


def test_a_foreign_address_ends_the_start() -> None:
    """An address that is not of this machine is told by its variable."""
    server, edge = configured(LLM_METRICS_PORT="0", LLM_METRICS_HOSTNAME="203.0.113.1")
    with (
        pytest.raises(ConfigurationError, match=r"LLM_METRICS_HOSTNAME: .*203\.0\.113\.1"),
        open_metrics_port(server, edge),
    ):
        pass
