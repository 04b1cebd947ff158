"""Whether a process makes spans, and what that costs where it makes none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tokenwire.environment import ConfigurationError
from tokenwire.tracing.making import make_tracer
from tokenwire.tracing.settings import TracingSettings

APPS = "tokenwire.server.app, tokenwire.edge.app"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def test_a_start_without_traces_imports_nothing_for_them() -> None:
    """Front and edge are whole without OpenTelemetry's libraries. Takes a second: a process."""
    code = f"import sys, {APPS}; print([n for n in sys.modules if 'opentelemetry' in n])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_the_library_cannot_use_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that OpenTelemetry reads by itself end the start with a sentence, too."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(ConfigurationError, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        make_tracer(TracingSettings.model_validate(ENDPOINT), "name", "edge")
