"""How a channel to the front is opened: its options stand here, once for edge and commands.

A probe imports it every few seconds: it needs gRPC and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.lb_policy_name", "round_robin"),  # replicas behind a headless name
    ("grpc.enable_retries", 0),  # a generation is never sent twice
    ("grpc.enable_http_proxy", 0),  # the front is a neighbour
)


def open_channel(target: str) -> grpc.aio.Channel:
    """Opens a channel inside a running event loop; it connects when it is first used."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def open_blocking_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    compression: grpc.Compression | None = None,
    options: Options = (),
) -> grpc.Channel:
    """Opens a channel for calls that block; without `credentials` it is in plain text."""
    options = (*_OPTIONS, *options)
    if credentials is None:
        return grpc.insecure_channel(target, options, compression)
    return grpc.secure_channel(target, credentials, options, compression)
