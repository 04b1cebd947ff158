"""docs/observability.md against the pages of metrics of a running service."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tokenwire.server.models.model_state import State
from tokenwire.server.telemetry.metrics.key_metrics import KeyMetrics
from tokenwire.server.telemetry.metrics.outcomes import ABORT_CAUSES, REJECT_REASONS

from ..server.fronts import collect, failure_of
from ..server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher
from ..system.services import Service, start_service
from .pages import read_page, table_below

BY_FRONT = (
    "### Requests",
    "### The OpenTelemetry conventions for generative AI",
    "### gRPC calls",
    "### Models and engines",
    "### Requests that outlive their calls",
    "### The process and its machine",
    "### Names of the previous service",
)
BY_EDGE = ("## Counted by the edge",)
BY_BOTH = ("## Counted by both",)
# What moves by itself, or tells a fact.
NOT_ZERO = re.compile(
    r"process_|python_info|gpu_|llm_build_info|llm_model_|llm_engine_|llm_edge_front_up"
)
ADDED = {"le"}


@dataclass(frozen=True)
class Series:
    """A metric as the page documents it, or as it is scraped."""

    kind: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Scraped:
    """A page of metrics: its series, and the values of the samples."""

    series: Mapping[str, Series]
    samples: Mapping[str, float]
    by_label: Mapping[str, set[str]]


def documented(*headings: str) -> dict[str, Series]:
    """The series in the tables behind headings, by name."""
    text = read_page("observability.md")
    rows = [row for heading in headings for row in table_below(text, heading)]
    return {
        row[0].strip("`"): Series(row[1], frozenset(re.findall(r"\w+", row[2]))) for row in rows
    }


def parse(text: str) -> Scraped:
    """Reads a page. Labels of a metric that has no sample are those it would have: unknown here."""
    series: dict[str, Series] = {}
    samples: dict[str, float] = {}
    by_label: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert name not in series, "a metric stands once on its page"
        sets = {frozenset(sample.labels) - ADDED for sample in family.samples}
        assert len(sets) <= 1, f"{name} has one set of labels"
        series[name] = Series(family.type, next(iter(sets), frozenset({"?"})))
        for sample in family.samples:
            samples[f"{sample.name}{sorted(sample.labels.items())}"] = sample.value
            for label, value in sample.labels.items():
                by_label[label].add(value)
    return Scraped(series, samples, by_label)


async def read(http: aiohttp.ClientSession, path: str = "/metrics") -> Scraped:
    async with http.get(path) as response:
        return parse(await response.text())


@asynccontextmanager
async def service_on(engine: ScriptedEngine) -> AsyncGenerator[Service]:
    async with start_service(ScriptedLauncher(engine).prepare) as service:
        yield service


def differences(found: Mapping[str, Series], expected: Mapping[str, Series]) -> list[str]:
    """What is on one side alone, or otherwise there; GPUs have no samples on most machines."""
    return [
        f"{name}: {found.get(name)} instead of {expected.get(name)}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
        and not (name.startswith("gpu_") and name in found and name in expected)
    ]


async def test_page_of_the_edge() -> None:
    """At the start the edge shows every series that is documented, and no other, at zero."""
    async with service_on(ScriptedEngine()) as service:
        page = await read(service.http)
    assert differences(page.series, documented(*BY_FRONT, *BY_EDGE, *BY_BOTH)) == []
    moved = {
        sample: value
        for sample, value in page.samples.items()
        if value and not NOT_ZERO.match(sample)
    }
    # The scrape itself, and its question whether it may.
    own = {sample for sample in moved if "'CheckAccess'" in sample}
    assert moved.keys() - own <= {"http_requests_in_flight[]", "http_connections[]"}


async def test_page_of_the_front() -> None:
    """The front shows its part by itself."""
    async with service_on(ScriptedEngine()) as service:
        front = f"http://127.0.0.1:{service.client.app.metrics_port}/metrics"
        async with aiohttp.ClientSession() as http:
            page = await read(http, front)
    assert differences(page.series, documented(*BY_FRONT, *BY_BOTH)) == []


async def test_requests_bring_no_new_series() -> None:
    """Whatever callers send, the series stay the documented ones, and their labels bounded."""
    engine = ScriptedEngine(context_length=8)
    engine.allow(8)
    async with service_on(engine) as service:
        client, http = service.client, service.http
        request = client.chat("go")
        request.sampling.max_tokens = 3
        await collect(client.inference.Chat(request))
        call = client.inference.Generate(client.prompt("go"))
        await engine.wait_until(running=1)
        call.cancel()
        await engine.wait_until(running=0)
        await failure_of(client.inference.Chat(client.on("canary/model").chat("go")))
        await failure_of(client.inference.Chat(client.chat("one two three four five six seven 8")))
        for method, path, body in (
            ("POST", "/api/generate", '{"model": "canary/model", "prompt": "x"}'),
            ("POST", "/api/chat", "canary"),
            ("GET", "/canary/path", None),
            ("CANARY", "/api/llms", None),
        ):
            async with http.request(method, path, data=body) as response:
                assert response.status >= 400
        engine.failure = ValueError("canary-failure")
        engine.allow(1)
        await failure_of(client.inference.Chat(client.chat("go")))
        page = await read(http)
    assert differences(page.series, documented(*BY_FRONT, *BY_EDGE, *BY_BOTH)) == []
    assert not any(
        "canary" in value.lower() for values in page.by_label.values() for value in values
    )
    assert page.by_label["model"] == {MODEL_ID, "unknown"}
    assert page.by_label["reason"] == set(REJECT_REASONS)
    assert page.by_label["cause"] == set(ABORT_CAUSES)
    assert page.by_label["state"] == {state.value for state in State}
    assert page.by_label["error_type"] == {
        *("", "CLIENT_LEFT", "UNSUPPORTED_MODEL", "CONTEXT_TOO_LONG", "INTERNAL")
    }
    assert page.by_label["method"] <= {"GET", "POST", "HEAD", "OPTIONS", "other"}


def test_series_of_keys() -> None:
    """Those that a server with API keys has beside the others."""
    registry = CollectorRegistry()
    KeyMetrics(registry).add(["alice"])
    page = parse(generate_latest(registry).decode())
    assert differences(page.series, documented("## API keys")) == []
    assert not any(value for sample, value in page.samples.items() if "_created" not in sample)


@pytest.mark.parametrize("reason", [*REJECT_REASONS, *ABORT_CAUSES])
def test_reasons_are_documented(reason: str) -> None:
    """Reasons in labels are those of the table of errors, or named on the page."""
    assert f"`{reason}`" in read_page("errors.md") + read_page("observability.md")
