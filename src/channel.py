"""How a channel to the front is opened: its options stand here, once for edge and commands.

A probe imports it every few seconds: it needs gRPC and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc

_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
Options = Sequence[tuple[str, str | int]]
_OPTIONS: Final[Options] = (
    ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", -1),  # the front has the limit, and names it
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The front may come back at any moment: look often.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.lb_policy_name", "round_robin"),  # replicas behind a headless name
    ("grpc.enable_retries", 0),  # a generation is never sent twice
    ("grpc.enable_http_proxy", 0),  # the front is a neighbour
)


@dataclass(frozen=True, slots=True)
class ChannelTls:
    """What a channel trusts and shows, as PEM.

    Without `authorities` it trusts those that gRPC brings; without `certificate` and `key`, both or
    neither, it shows no certificate. `server_name` is expected in the server's certificate in place
    of the host in the target.
    """

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    server_name: str = ""

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC."""
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.certificate)

    @property
    def options(self) -> Options:
        """The options that go with the credentials."""
        return (("grpc.ssl_target_name_override", self.server_name),) if self.server_name else ()


def open_channel(target: str, tls: ChannelTls | None = None) -> grpc.aio.Channel:
    """Opens a channel inside a running event loop; it connects when it is first used.

    Without `tls` it is in plain text.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    return grpc.aio.secure_channel(target, tls.credentials, options=(*_OPTIONS, *tls.options))


def open_blocking_channel(
    target: str,
    tls: ChannelTls | None = None,
    *,
    compression: grpc.Compression | None = None,
    options: Options = (),
) -> grpc.Channel:
    """Opens a channel for calls that block; without `tls` it is in plain text."""
    options = (*_OPTIONS, *options)
    if tls is None:
        return grpc.insecure_channel(target, options, compression)
    return grpc.secure_channel(target, tls.credentials, (*options, *tls.options), compression)
