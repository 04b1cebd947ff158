"""The variables that bound what HTTP clients may do, and pace what is sent to them."""

from __future__ import annotations

import enum

from ..environment import Settings, setting

_MAX_S = 86_400


class HeartbeatForm(enum.StrEnum):
    """What a heartbeat looks like."""

    COMMENT = "comment"
    EVENT = "event"


class HttpSettings(Settings):
    """What the edge reads about its connections and streams."""

    http_head_timeout_s: float = setting(
        "LLM_HTTP_HEAD_TIMEOUT_S",
        10.0,
        gt=0,
        le=3600,
        description="Longest time from the first byte of a request to the end of its headers, "
        "in seconds",
    )
    http_idle_timeout_s: float = setting(
        "LLM_HTTP_IDLE_TIMEOUT_S",
        75.0,
        gt=0,
        le=_MAX_S,
        description="Longest time that a connection stays open without a request, in seconds; "
        "longer than the proxy in front keeps it",
    )
    http_write_timeout_s: float = setting(
        "LLM_HTTP_WRITE_TIMEOUT_S",
        60.0,
        gt=0,
        le=_MAX_S,
        description="Longest time that a client may leave an answer unread, in seconds",
    )
    http_max_header_bytes: int = setting(
        "LLM_HTTP_MAX_HEADER_BYTES",
        8190,
        ge=1024,
        le=1024 * 1024,
        description="Longest request line and longest header, in bytes; "
        "all of them together may have eight times as many",
    )
    http_max_connections: int = setting(
        "LLM_HTTP_MAX_CONNECTIONS",
        2048,
        ge=1,
        le=1_000_000,
        description="HTTP connections that are open at once",
    )
    http_max_connections_per_peer: int = setting(
        "LLM_HTTP_MAX_CONNECTIONS_PER_PEER",
        0,
        ge=0,
        le=1_000_000,
        description="HTTP connections that are open at once from one address; 0: no limit, "
        "as behind a proxy, which is one address",
    )
    sse_headers_s: float = setting(
        "LLM_SSE_HEADERS_S",
        45.0,
        ge=0,
        le=_MAX_S,
        description="Seconds after which a stream's status and headers are sent though the engine "
        "has not accepted the request yet; 0: never",
    )
    sse_heartbeat_s: float = setting(
        "LLM_SSE_HEARTBEAT_S",
        15.0,
        ge=0,
        le=_MAX_S,
        description="Seconds without an event after which a stream gets a heartbeat; 0: never",
    )
    sse_heartbeat_form: HeartbeatForm = setting(
        "LLM_SSE_HEARTBEAT_FORM",
        HeartbeatForm.COMMENT,
        description="A heartbeat is a comment, or an event that says nothing",
    )
