"""Whether a process makes spans, and with what."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.environment import ConfigurationError
from tokenwire.tracing.making import make_tracer
from tokenwire.tracing.settings import TracingSettings

from ..certificates import PairFiles

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def test_what_the_library_cannot_use_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that OpenTelemetry reads by itself end the start with a sentence, too."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(ConfigurationError, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        make_tracer(TracingSettings.model_validate(ENDPOINT), "name", "edge")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("broken", ["key_as_authorities", "other_key"])
def test_files_of_tls_are_checked(tmp_path: Path, protocol: str, broken: str) -> None:
    """What gRPC would abort the process for, and HTTP fail at each batch for, is a sentence."""
    pair = PairFiles(tmp_path)
    if broken == "other_key":
        pair.key.write_bytes(pair.issue().private_key_pem.bytes())
        name, authorities = "OTEL_EXPORTER_OTLP_CLIENT_KEY", pair.authorities
    else:
        name, authorities = "OTEL_EXPORTER_OTLP_CERTIFICATE", pair.key
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authorities),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(pair.certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(pair.key),
    }
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        make_tracer(TracingSettings.model_validate(variables), "name", "edge")
