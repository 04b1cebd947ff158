"""Every variable of the edge."""

from __future__ import annotations

import re

from pydantic import field_validator

from ..environment import setting
from ..logs.settings import LogSettings
from ..tracing.settings import TracingSettings

_MAX_PORT = 65535
_ORIGIN = re.compile(r"https?://[^/\s,]+|null")


class EdgeConfig(TracingSettings, LogSettings):
    """The configuration of `tokenwire edge`."""

    hostname: str = setting(
        "LLM_INFERENCE_HOSTNAME",
        "0.0.0.0",  # noqa: S104 - the documented default
        description="Address that HTTP listens on",
    )
    port: int = setting(
        "LLM_INFERENCE_PORT",
        8091,
        ge=0,
        le=_MAX_PORT,
        description="Port that HTTP listens on; 0: any free one",
    )
    cors_allowed_origins: tuple[str, ...] = setting(
        "CORS_ALLOWED_ORIGINS",
        ("*",),
        description="Origins whose browser pages may call; *: any, without credentials",
        takes="* or origins separated by commas, such as https://app.example.com",
    )
    grpc_port: int = setting(
        "LLM_GRPC_PORT",
        50051,
        ge=0,
        le=_MAX_PORT,
        description="Port that gRPC listens on; 0: any free one",
    )
    grpc_target: str = setting(
        "LLM_GRPC_TARGET",
        default_factory=lambda values: f"localhost:{values['grpc_port']}",
        default_text="localhost:<LLM_GRPC_PORT>",
        description="Where the edge finds the gRPC server",
        takes="a gRPC target, such as host:port or dns:///host:port",
    )
    metrics_port: int = setting(
        "LLM_METRICS_PORT",
        9464,
        ge=0,
        le=_MAX_PORT,
        description="Port that metrics listen on; 0: any free one",
    )
    metrics_target: str = setting(
        "LLM_METRICS_TARGET",
        default_factory=lambda values: f"http://127.0.0.1:{values['metrics_port']}/metrics",
        default_text="http://127.0.0.1:<LLM_METRICS_PORT>/metrics",
        description="Where the edge finds the metrics of the gRPC server",
        takes="an http or https address",
    )
    max_body_bytes: int = setting(
        "LLM_MAX_BODY_BYTES",
        4 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="Largest request body that HTTP reads, in bytes",
    )
    body_timeout_s: float = setting(
        "LLM_BODY_TIMEOUT_S",
        30.0,
        gt=0,
        le=3600,
        description="Longest time that a request body may take to arrive, in seconds",
    )
    drain_timeout_s: float = setting(
        "LLM_DRAIN_TIMEOUT_S",
        60.0,
        ge=0,
        le=86_400,
        description="Longest wait for running requests at the end, in seconds",
    )

    @field_validator("cors_allowed_origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        if not origins:
            raise ValueError("names no origin")
        if "*" in origins:
            if len(origins) > 1:
                raise ValueError("* stands for every origin and cannot be one of several")
            return origins
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"'{origin}' is not an origin: scheme, host and port, no path")
        return origins

    @field_validator("metrics_target")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("takes an http or https address")
        return value
