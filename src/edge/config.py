"""Every variable of the edge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator

from ..environment import ExpandedPath, setting
from ..logs.settings import LogSettings
from ..tls.pem_files import PemFile, PemFiles
from ..tls.settings import PEM_FILE, TlsSettings
from ..tracing.settings import TracingSettings
from .http_settings import HttpSettings

_MAX_PORT = 65535
UNIX = "unix:"
"""How the target of a Unix socket begins."""
_TARGET_AUTHORITIES = "LLM_GRPC_TARGET_CA_PATH"
_TARGET_CERTIFICATE = "LLM_GRPC_TARGET_CERT_PATH"
_TARGET_KEY = "LLM_GRPC_TARGET_KEY_PATH"
_ORIGIN = re.compile(r"https?://[^/\s,]+|null")


class EdgeConfig(HttpSettings, TracingSettings, LogSettings, TlsSettings):
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
        takes="a gRPC target, such as host:port, dns:///host:port or unix:/path",
    )
    grpc_target_tls: bool = setting(
        "LLM_GRPC_TARGET_TLS",
        default_factory=lambda values: (
            values["server_ssl_enabled"] and not values["grpc_target"].startswith(UNIX)
        ),
        default_text="<SERVER_SSL_ENABLED>",
        description="Whether the edge speaks TLS to the gRPC server; unset, never to a Unix socket",
    )
    grpc_target_ca_path: ExpandedPath | None = setting(
        _TARGET_AUTHORITIES,
        None,
        description="Authorities that the gRPC server's certificate must come from; "
        "unset: the public ones that gRPC brings",
        takes=PEM_FILE,
    )
    grpc_target_server_name: str = setting(
        "LLM_GRPC_TARGET_SERVER_NAME",
        "",
        description="Name to expect in the gRPC server's certificate; unset: the target's host",
    )
    grpc_target_cert_path: ExpandedPath | None = setting(
        _TARGET_CERTIFICATE,
        None,
        description="Certificate that is shown to the gRPC server",
        takes=PEM_FILE,
    )
    grpc_target_key_path: ExpandedPath | None = setting(
        _TARGET_KEY, None, description="Private key of that certificate", takes=PEM_FILE
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
    playground: bool = setting(
        "LLM_PLAYGROUND",
        True,
        description="Whether the page to try the models is served at /",
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

    @model_validator(mode="after")
    def _target_tls_is_whole(self) -> Self:
        paths = {
            _TARGET_AUTHORITIES: self.grpc_target_ca_path,
            _TARGET_CERTIFICATE: self.grpc_target_cert_path,
            _TARGET_KEY: self.grpc_target_key_path,
        }
        given = [name for name, path in paths.items() if path is not None]
        is_decided = self.grpc_target_tls or "grpc_target_tls" in self.model_fields_set
        if given and not is_decided:
            raise ValueError(
                f"{given[0]} is set, but LLM_GRPC_TARGET_TLS is neither true nor false"
            )
        if (_TARGET_CERTIFICATE in given) is not (_TARGET_KEY in given):
            raise ValueError(
                f"{_TARGET_CERTIFICATE} and {_TARGET_KEY} are set together or not at all"
            )
        return self

    @property
    def target_pem_files(self) -> PemFiles:
        """The files of TLS to the front, where it is spoken."""
        return PemFiles(
            _pem_file(_TARGET_CERTIFICATE, self.grpc_target_cert_path),
            _pem_file(_TARGET_KEY, self.grpc_target_key_path),
            _pem_file(_TARGET_AUTHORITIES, self.grpc_target_ca_path),
        )


def _pem_file(variable: str, path: Path | None) -> PemFile | None:
    return None if path is None else PemFile(variable, path)
