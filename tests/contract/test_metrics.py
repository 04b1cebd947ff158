"""The series that existing dashboards read."""

from __future__ import annotations

import re
from collections import defaultdict

import yaml
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.machine.gpus import GpuReading

from ..docs.pages import ROOT, read_page, table_below
from ..server.fronts import collect
from ..server.scripted_engine import MODEL_ID
from .stage import CHAT, PROMPT, Stage

ROWS = {
    name.strip("`"): (kind, set(labels.strip("-").split(", ")) - {""})
    for name, kind, labels in table_below(read_page("rest.md"), "## Metrics")
}
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
Labels = frozenset[tuple[str, str]]


async def scrape(stage: Stage) -> tuple[dict[str, str], dict[str, dict[Labels, float]]]:
    """Returns the types of the edge's page, and the samples of each name by their labels."""
    async with stage.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    for line in lines:
        match = _SAMPLE.fullmatch(line)
        if match is not None:
            labels = frozenset(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            samples[match[1]][labels] = float(match[3])
    return types, samples


def by(**labels: str) -> Labels:
    """Returns labels as `scrape` does."""
    return frozenset(labels.items())


async def test_every_series(stage: Stage) -> None:
    """Each row of the table is a series of that type with those labels; histograms have `le`."""
    app = stage.service.client.app
    app._gpus._readings = (GpuReading("0", 1 << 30, 1 << 20, 7.0),)
    await stage.post("/api/chat", CHAT)
    types, samples = await scrape(stage)
    assert len(ROWS) == 13
    for name, (kind, labels) in ROWS.items():
        assert types[name] == kind, name
        sample, more = (f"{name}_bucket", {"le"}) if kind == "histogram" else (name, set())
        assert samples[sample], name
        for found in samples[sample]:
            assert {label for label, _ in found} == labels | more, name
    device = by(device="0")
    assert samples["gpu_memory_used_bytes"][device] == 1 << 20
    assert samples["gpu_memory_total_bytes"][device] == 1 << 30
    assert samples["gpu_utilization_percent"][device] == 7.0
    assert samples["gpu_memory_utilization_percent"][device] == 100 / 1024


async def test_http_requests(stage: Stage) -> None:
    """Two requests that count, by their route, and five that do not.

    > HTTP requests are counted by route pattern and status, without those of health, metrics and
    > Swagger.
    """
    await stage.post("/api/chat", CHAT)
    await stage.post("/api/chat", {**CHAT, "model": "no/such"}, 400)
    for path in ("/health/live", "/health/ready", "/metrics", "/swagger-ui", "/api/openapi.json"):
        async with stage.http.get(path) as response:
            assert response.status == 200
    _, samples = await scrape(stage)
    for name in ("requests_total", "requests_duration_seconds_count"):
        counted = samples[f"llm_inference_http_{name}"]
        assert {labels: number for labels, number in counted.items() if number} == {
            by(endpoint="/api/chat", method="POST", status="200"): 1,
            by(endpoint="/api/chat", method="POST", status="400"): 1,
        }
        endpoints = {dict(labels)["endpoint"] for labels in counted}
        assert not {path for path in endpoints if re.match("/(health|metrics|swagger)", path)}


async def test_generations(stage: Stage) -> None:
    """Three that succeed, one of them over gRPC, and one that fails.

    > Generations are counted as `success` or `error`, whichever door they came through; their
    > tokens and their speed where they succeeded.
    """
    await stage.post("/api/chat", CHAT)
    await stage.post("/api/generate", PROMPT)
    request = stage.service.client.chat("Hi")
    request.sampling.max_tokens = 3
    await collect(stage.service.client.inference.Chat(request))
    stage.engine.failure = GenerationFailed("no")
    await stage.post("/api/completions", PROMPT, 500)
    _, samples = await scrape(stage)
    model = {"model": MODEL_ID}
    for name in ("inference_llm_requests_total", "inference_llm_duration_seconds_count"):
        assert samples[name] == {
            by(**model, status="success"): 3,
            by(**model, status="error"): 1,
        }
    assert samples["inference_llm_tokens_generated_total"] == {by(**model): 2 + 2 + 3}
    assert samples["inference_llm_tokens_per_second_count"] == {by(**model): 3}


def test_the_job() -> None:
    """The configuration that comes with the service gives the scraped target that name.

    > Dashboards filter by `job="llm-inference-api"`, which the scraper sets.
    """
    file = ROOT / "deploy" / "observability" / "prometheus.yml"
    (scraped,) = yaml.safe_load(file.read_text())["scrape_configs"]
    assert scraped["job_name"] == "llm-inference-api"
