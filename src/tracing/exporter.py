"""What sends spans to the collector, made from the settings."""

from __future__ import annotations

from pathlib import Path

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.sdk.trace.export import SpanExporter

from ..tls.pem_files import PemTexts
from .settings import OtlpProtocol, TracingSettings, read_pairs


def make_exporter(settings: TracingSettings) -> SpanExporter:
    """Makes the exporter of the protocol that is set.

    It gets every value from us: what it found in the environment may be what another setting of
    the service overrides.

    Raises:
        ConfigurationError: a file of TLS cannot be used.
    """
    # gRPC aborts the process at a pair that it cannot use, and HTTP fails at the first span.
    texts = settings.collector_pem_files.load().texts
    headers = settings.otel_exporter_otlp_headers
    pairs = read_pairs(headers.get_secret_value()) if headers else {}
    if settings.otel_exporter_otlp_protocol is OtlpProtocol.HTTP:
        return _make_http(settings, pairs)
    is_plain = settings.traces_endpoint.startswith("http://")
    is_gzip = settings.otel_exporter_otlp_compression == "gzip"
    return GrpcExporter(
        endpoint=settings.traces_endpoint,
        insecure=is_plain,
        credentials=None if is_plain else _credentials(texts),
        headers={name.lower(): value for name, value in pairs.items()},
        timeout=settings.otel_exporter_otlp_timeout_s,
        compression=grpc.Compression.Gzip if is_gzip else grpc.Compression.NoCompression,
    )


def _make_http(settings: TracingSettings, headers: dict[str, str]) -> SpanExporter:
    # It imports a second HTTP client, which gRPC does without.
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(
        endpoint=settings.traces_endpoint,
        certificate_file=_text(settings.otel_exporter_otlp_certificate),
        client_key_file=_text(settings.otel_exporter_otlp_client_key),
        client_certificate_file=_text(settings.otel_exporter_otlp_client_certificate),
        headers=headers,
        timeout=settings.otel_exporter_otlp_timeout_s,
        compression=Compression(settings.otel_exporter_otlp_compression),
    )


def _credentials(texts: PemTexts) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=texts.authorities,
        private_key=texts.key,
        certificate_chain=texts.certificate,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
