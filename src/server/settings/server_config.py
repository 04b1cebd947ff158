"""Every variable of the server that is not one engine's own."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationInfo, field_validator, model_validator

from ...environment import ExpandedPath, setting
from ...listening import Listener
from ...logs.settings import LogSettings
from ...tls.pem_files import PemFiles
from ...tls.settings import CLIENT_AUTHORITIES, PEM_FILE, TlsSettings
from ...tracing.settings import TracingSettings
from .access_settings import AccessSettings
from .hub_settings import HubSettings
from .image_settings import ImageSettings
from .isq_settings import IsqSettings
from .kv_cache_settings import CONTEXT_SIZE_FROM_MEMORY, KvCacheSettings
from .model_settings import ModelSettings
from .resume_settings import ResumeSettings
from .timeout_settings import TimeoutSettings

DEFAULT_MAX_TOKENS = 512
_MAX_PORT = 65535


class ServerConfig(
    ModelSettings,
    HubSettings,
    ImageSettings,
    IsqSettings,
    KvCacheSettings,
    TimeoutSettings,
    AccessSettings,
    ResumeSettings,
    TracingSettings,
    LogSettings,
    TlsSettings,
):
    """The configuration of `tokenwire server`, without what one engine alone reads.

    `config_class` in `preparation/kits.py` adds that.
    """

    grpc_hostname: str = setting(
        "LLM_GRPC_HOSTNAME",
        "0.0.0.0",  # noqa: S104 - a service that other machines call; documented
        description="Address that gRPC listens on",
    )
    grpc_port: int = setting(
        "LLM_GRPC_PORT",
        50051,
        ge=0,
        le=_MAX_PORT,
        description="Port that gRPC listens on; 0: any free one",
    )
    grpc_socket: ExpandedPath | None = setting(
        "LLM_GRPC_SOCKET",
        None,
        description="Unix socket that gRPC listens on, too, without TLS, for the same user",
        takes="a path",
    )
    grpc_reflection: bool = setting(
        "LLM_GRPC_REFLECTION", True, description="Serves gRPC reflection"
    )
    load_reports: bool = setting(
        "LLM_LOAD_REPORTS",
        True,
        description="Tells gRPC clients the load: behind every call, and as a service",
    )
    max_message_bytes: int = setting(
        "LLM_MAX_MESSAGE_BYTES",
        4 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="Largest gRPC message that is read, in bytes",
    )
    grpc_max_connections: int = setting(
        "LLM_GRPC_MAX_CONNECTIONS",
        2048,
        ge=1,
        le=1_000_000,
        description="gRPC connections that are open at once",
    )
    metrics_hostname: str = setting(
        "LLM_METRICS_HOSTNAME", "127.0.0.1", description="Address that metrics listen on"
    )
    metrics_port: int = setting(
        "LLM_METRICS_PORT",
        9464,
        ge=0,
        le=_MAX_PORT,
        description="Port that metrics listen on; 0: any free one",
    )

    default_temperature: float = setting(
        "LLM_DEFAULT_TEMPERATURE",
        0.7,
        ge=0,
        le=2,
        description="Temperature of requests that give none",
    )
    default_top_p: float = setting(
        "LLM_DEFAULT_TOP_P", 0.9, ge=0, le=1, description="top_p of requests that give none"
    )
    max_tokens_limit: int = setting(
        "LLM_MAX_TOKENS_LIMIT",
        4096,
        ge=1,
        le=2**31 - 1,
        description="Most tokens that one answer may have",
    )
    default_max_tokens: int = setting(
        "LLM_DEFAULT_MAX_TOKENS",
        default_factory=lambda values: min(DEFAULT_MAX_TOKENS, values["max_tokens_limit"]),
        default_text=str(DEFAULT_MAX_TOKENS),
        ge=1,
        le=2**31 - 1,
        description="max_tokens of requests that give none; unset, never above the limit",
    )

    max_concurrent_requests: int = setting(
        "LLM_MAX_CONCURRENT_REQUESTS",
        10,
        ge=1,
        le=4096,
        description="Requests that run at once, for each model",
    )
    max_queued_requests: int = setting(
        "LLM_MAX_QUEUED_REQUESTS",
        100,
        ge=0,
        le=100_000,
        description="Requests that wait for a slot, for each model",
    )
    queue_timeout_ms: int = setting(
        "LLM_QUEUE_TIMEOUT_MS",
        30_000,
        ge=0,
        le=86_400_000,
        description="Longest wait for a slot, in milliseconds",
    )
    gpu_pressure_threshold: float = setting(
        "GPU_PRESSURE_THRESHOLD",
        95.0,
        # A share, such as 0.95, would refuse nearly every request.
        gt=1,
        le=100,
        takes="a percentage above 1 and of at most 100, such as 95",
        description="Percentage of GPU memory in use above which requests are refused",
    )

    drain_timeout_s: float = setting(
        "LLM_DRAIN_TIMEOUT_S",
        60.0,
        ge=0,
        le=86_400,
        description="Longest wait for running requests at the end, in seconds",
    )
    drain_delay_s: float = setting(
        "LLM_DRAIN_DELAY_S",
        0.0,
        ge=0,
        le=3600,
        description="Time between not ready and refusing requests, in seconds, for load balancers",
    )

    tls_client_ca_path: ExpandedPath | None = setting(
        CLIENT_AUTHORITIES,
        None,
        description="Authorities whose certificate gRPC clients must show",
        takes=PEM_FILE,
    )

    @field_validator("default_max_tokens")
    @classmethod
    def _within_limit(cls, value: int, info: ValidationInfo) -> int:
        limit = info.data.get("max_tokens_limit")
        if limit is not None and value > limit:
            raise ValueError(f"is above LLM_MAX_TOKENS_LIMIT, which is {limit}")
        return value

    @model_validator(mode="after")
    def _client_certificates_need_tls(self) -> Self:
        self.refuse_without_tls({CLIENT_AUTHORITIES: self.tls_client_ca_path})
        return self

    @property
    def pem_files(self) -> PemFiles | None:
        """The files of TLS on gRPC; None: it speaks plaintext."""
        return self.server_pem_files(self.tls_client_ca_path)

    @property
    def grpc_listener(self) -> Listener:
        """Where gRPC listens."""
        return Listener("LLM_GRPC_HOSTNAME", self.grpc_hostname, "LLM_GRPC_PORT", self.grpc_port)

    @property
    def kv_pool_tokens(self) -> int | None:
        """Tokens asked for the whole KV cache; None: sized from memory."""
        if self.paged_attention_context_size == CONTEXT_SIZE_FROM_MEMORY:
            return None
        return self.paged_attention_context_size * self.max_concurrent_requests
