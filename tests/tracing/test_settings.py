"""The variables of OpenTelemetry."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError, load
from tokenwire.tracing.settings import TracingSettings, read_pairs

from ..surroundings import surround

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("variables", "is_tracing"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://localhost:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: "http://localhost:4317", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://localhost:4317", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_who_asks_for_traces_gets_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], is_tracing: bool
) -> None:
    """Traces are made where somebody names a collector, also the default one, or an exporter."""
    surround(monkeypatch, tmp_path, **variables)
    assert load(EdgeConfig).is_tracing is is_tracing


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "http://localhost:4317"),
        ({ENDPOINT: "https://c:1/"}, "https://c:1"),
        (
            {ENDPOINT: "http://c:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:2"},
            "http://t:2",
        ),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "HTTP/protobuf"},
            "http://localhost:4318/v1/traces",
        ),
        (
            {ENDPOINT: "http://c:1/base", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http://c:1/base/v1/traces",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:2/otlp",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
            "http://t:2/otlp",
        ),
    ],
)
def test_where_spans_go(variables: dict[str, str], endpoint: str) -> None:
    """The address of traces wins and is taken as it is; to the other one HTTP adds its path."""
    assert TracingSettings.model_validate(variables).traces_endpoint == endpoint


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (ENDPOINT, "collector:4317", "takes an http or https address"),
        (ENDPOINT, "http://me:canary@collector", "takes no user; OTEL_EXPORTER_OTLP_HEADERS can"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "takes one of grpc, http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "takes seconds, a number above 0"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "takes one of always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "10", "takes a number from 0 to 1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone", "a part is not of the form name=value"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem", "there is no such file"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", __file__, "needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", __file__, "needs OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    ],
)
def test_a_mistake_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, told: str
) -> None:
    """OpenTelemetry would take a default in its place, or end the start with a traceback."""
    surround(monkeypatch, tmp_path, **{name: value})
    with pytest.raises(ConfigurationError) as caught:
        load(EdgeConfig)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}: {told}")
    assert "canary" not in problem


@pytest.mark.parametrize(
    ("variables", "is_told"),
    [
        ({}, True),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, False),
        ({"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_a_share_without_its_sampler_is_told(variables: dict[str, str], *, is_told: bool) -> None:
    """A share that no sampler reads is a notice, where there are traces at all."""
    share = {ENDPOINT: "http://c:1", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    notices = TracingSettings.model_validate({**share, **variables}).notices()
    assert [notice.split()[0] for notice in notices] == ["OTEL_TRACES_SAMPLER_ARG"] * is_told


def test_headers_are_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in a header that cannot be read is not in the message about it."""
    surround(monkeypatch, tmp_path, OTEL_EXPORTER_OTLP_HEADERS="canary")
    with pytest.raises(ConfigurationError) as caught:
        load(EdgeConfig)
    assert "canary" not in str(caught.value)


def test_pairs_are_percent_encoded() -> None:
    """Values may hold what separates them, encoded; a later pair of a name wins."""
    assert read_pairs(" a = 1%2C2 ,b=x=y,,a=3") == {"a": "3", "b": "x=y"}


def test_settings_are_frozen() -> None:
    """Nobody changes them once they are read."""
    with pytest.raises(ValidationError):
        TracingSettings().otel_sdk_disabled = True  # type: ignore[misc]  # what it proves
