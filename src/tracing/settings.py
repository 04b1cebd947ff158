"""The variables of tracing, which are those of OpenTelemetry."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import unquote

from pydantic import SecretStr, field_validator, model_validator

from ..environment import ExpandedPath, HttpAddress, Settings, setting
from ..tls.pem_files import PemFile, PemFiles

_DEFAULT_ENDPOINT: Final = "http://localhost:4317"
_DEFAULT_HTTP_ENDPOINT: Final = "http://localhost:4318"
_PEM_FILE: Final = "a PEM file"
_PAIRS: Final = "name=value, separated by commas"
_AUTHORITIES: Final = "OTEL_EXPORTER_OTLP_CERTIFICATE"
_CERTIFICATE: Final = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
_KEY: Final = "OTEL_EXPORTER_OTLP_CLIENT_KEY"


class OtlpProtocol(enum.Enum):
    """How spans travel to the collector."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class SamplerName(enum.Enum):
    """Which traces are recorded."""

    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    RATIO = "traceidratio"
    PARENT_ALWAYS_ON = "parentbased_always_on"
    PARENT_ALWAYS_OFF = "parentbased_always_off"
    PARENT_RATIO = "parentbased_traceidratio"


class TracingSettings(Settings):
    """What every process of the service reads about its traces."""

    otel_exporter_otlp_endpoint: HttpAddress = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        _DEFAULT_ENDPOINT,
        description="Address of the OTLP collector; setting it turns traces on",
        takes="an http or https address",
    )
    otel_exporter_otlp_traces_endpoint: HttpAddress | None = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        None,
        description="The same for traces alone, over HTTP with its path",
        takes="an http or https address",
    )
    otel_exporter_otlp_protocol: OtlpProtocol = setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        OtlpProtocol.GRPC,
        description="How traces travel to the collector",
    )
    otel_exporter_otlp_headers: SecretStr | None = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        None,
        description="Headers that go with traces to the collector",
        takes=_PAIRS,
    )
    otel_exporter_otlp_timeout_s: float = setting(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        10.0,
        gt=0,
        le=600,
        description="Longest time that the collector may take for a batch of spans, in seconds",
        takes="seconds, a number above 0 and of at most 600",
    )
    otel_exporter_otlp_compression: Literal["none", "gzip"] = setting(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "none",
        description="How batches of spans are compressed",
    )
    otel_exporter_otlp_certificate: ExpandedPath | None = setting(
        _AUTHORITIES,
        None,
        description="Certificates that the collector's must be signed by; unset: the system's",
        takes=_PEM_FILE,
    )
    otel_exporter_otlp_client_certificate: ExpandedPath | None = setting(
        _CERTIFICATE,
        None,
        description="Certificate that is shown to the collector",
        takes=_PEM_FILE,
    )
    otel_exporter_otlp_client_key: ExpandedPath | None = setting(
        _KEY,
        None,
        description="Private key of that certificate",
        takes=_PEM_FILE,
    )
    otel_traces_exporter: Literal["otlp", "none"] | None = setting(
        "OTEL_TRACES_EXPORTER",
        None,
        description="otlp turns traces on, none turns them off",
    )
    otel_sdk_disabled: bool = setting(
        "OTEL_SDK_DISABLED", False, description="Turns traces off, whatever else is set"
    )
    otel_service_name: str | None = setting(
        "OTEL_SERVICE_NAME",
        None,
        default_text="<SERVICE_NAME>",
        description="Name of the service in traces",
    )
    otel_resource_attributes: str = setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        description="What every span says about the process that made it",
        takes=_PAIRS,
    )
    otel_traces_sampler: SamplerName = setting(
        "OTEL_TRACES_SAMPLER",
        SamplerName.PARENT_ALWAYS_ON,
        description="Which traces are recorded; parentbased: as the caller decided, if he did",
    )
    otel_traces_sampler_arg: float = setting(
        "OTEL_TRACES_SAMPLER_ARG",
        1.0,
        ge=0,
        le=1,
        description="Share of traces that a sampler with traceidratio records",
    )
    otel_bsp_max_queue_size: int = setting(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        2048,
        ge=1,
        le=1_000_000,
        description="Spans that wait for the collector; more are dropped and counted",
    )
    otel_bsp_max_export_batch_size: int = setting(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        512,
        ge=1,
        le=1_000_000,
        description="Spans that are sent to the collector at once",
    )
    otel_bsp_schedule_delay_ms: int = setting(
        "OTEL_BSP_SCHEDULE_DELAY",
        5000,
        ge=1,
        le=3_600_000,
        description="Longest time until a span is sent, in milliseconds",
    )

    @field_validator("otel_resource_attributes", "otel_exporter_otlp_headers", mode="before")
    @classmethod
    def _check_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            read_pairs(value)
        return value

    @field_validator("otel_exporter_otlp_endpoint", "otel_exporter_otlp_traces_endpoint")
    @classmethod
    def _has_no_user(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            # Exporters put the address into what they log.
            raise ValueError("takes no user; OTEL_EXPORTER_OTLP_HEADERS can hold a key")
        return value

    @field_validator("otel_exporter_otlp_protocol", "otel_traces_sampler", mode="before")
    @classmethod
    def _lower_words(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator(
        "otel_exporter_otlp_certificate",
        "otel_exporter_otlp_client_certificate",
        "otel_exporter_otlp_client_key",
    )
    @classmethod
    def _names_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @model_validator(mode="after")
    def _client_pair_is_whole(self) -> Self:
        # gRPC aborts the process at half a pair.
        certificate = self.otel_exporter_otlp_client_certificate
        key = self.otel_exporter_otlp_client_key
        if (certificate is None) is not (key is None):
            given, missing = (_KEY, _CERTIFICATE) if certificate is None else (_CERTIFICATE, _KEY)
            raise ValueError(f"{given}: needs {missing} beside it")
        return self

    def notices(self) -> list[str]:
        """Returns one sentence for everything that is set to no effect."""
        notices = super().notices()
        sampler = self.otel_traces_sampler
        has_ratio = sampler in (SamplerName.RATIO, SamplerName.PARENT_RATIO)
        if self.is_tracing and "otel_traces_sampler_arg" in self.model_fields_set and not has_ratio:
            notices.append(
                f"OTEL_TRACES_SAMPLER_ARG does nothing with OTEL_TRACES_SAMPLER={sampler.value}: "
                f"{SamplerName.RATIO.value} and {SamplerName.PARENT_RATIO.value} have a share"
            )
        return notices

    @property
    def collector_pem_files(self) -> PemFiles:
        """The files of TLS to the collector."""
        return PemFiles(
            _pem_file(_CERTIFICATE, self.otel_exporter_otlp_client_certificate),
            _pem_file(_KEY, self.otel_exporter_otlp_client_key),
            _pem_file(_AUTHORITIES, self.otel_exporter_otlp_certificate),
        )

    @property
    def is_tracing(self) -> bool:
        """Whether spans are made: somebody named a collector, or asked for the default one."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return False
        named = {"otel_exporter_otlp_endpoint", "otel_exporter_otlp_traces_endpoint"}
        return self.otel_traces_exporter == "otlp" or bool(named & self.model_fields_set)

    @property
    def traces_endpoint(self) -> str:
        """Where spans go, over HTTP with the path."""
        if self.otel_exporter_otlp_traces_endpoint is not None:
            return self.otel_exporter_otlp_traces_endpoint
        if self.otel_exporter_otlp_protocol is OtlpProtocol.GRPC:
            return self.otel_exporter_otlp_endpoint
        is_named = "otel_exporter_otlp_endpoint" in self.model_fields_set
        base = self.otel_exporter_otlp_endpoint if is_named else _DEFAULT_HTTP_ENDPOINT
        return f"{base}/v1/traces"


def read_pairs(text: str) -> dict[str, str]:
    """Reads `name=value,name=value`, values percent-encoded, as OpenTelemetry writes maps.

    Raises:
        ValueError: a part is not of that form.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("a part is not of the form name=value")
        pairs[name.strip()] = unquote(value.strip())
    return pairs


def _pem_file(variable: str, path: Path | None) -> PemFile | None:
    return None if path is None else PemFile(variable, path)
