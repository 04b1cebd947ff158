"""What is under deploy/observability, with a real Prometheus and a running service."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from tokenwire.commands.start import known_variables
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.machine.gpus import GpuReading
from tokenwire.server.models.model_state import PreparedModel

from ..conftest import MODEL_ID
from ..docs.pages import ROOT, read_page
from ..server.fronts import collect
from ..system.services import Service, start_service
from .prometheus import is_number, needs_prometheus, promtool, scraping

FOLDER = ROOT / "deploy" / "observability"
DASHBOARD = json.loads((FOLDER / "grafana" / "dashboards" / "tokenwire.json").read_text())
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
# Names of series, in expressions: what is followed by labels or stands alone.
NAME = re.compile(r"\b((?:llm|gen_ai|grpc|http|gpu|process|inference|sglang|llamacpp)[_:]\w+)")
LABELS = re.compile(r"gen_ai_\w+(?=[,)]|=)|grpc_code|http_\w+(?==)")


def expressions() -> list[str]:
    """Every query of the dashboard, with its variables filled in."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    for variable in DASHBOARD["templating"]["list"]:
        assert variable["type"] == "datasource" or variable["allValue"] == ".*"
    return [
        expression.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$model", ".*")
        for expression in found
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(gguf_file: Path) -> AsyncIterator[Service]:
    """The whole service on llama.cpp, with a GPU that it does not have."""

    async def prepare(model_id: str, _report: ReportProgress) -> PreparedModel:
        settings = EngineSettings(Device.CPU, 2, max_model_len=1024, num_threads=1)
        files = ModelFiles(model_id, ModelFormat.GGUF, gguf_file)
        return PreparedModel(LlamaCppLauncher(files, settings), "test")

    async with start_service(prepare, LLM_ALLOWED_MODELS=MODEL_ID) as service:
        service.client.app._gpus._readings = (GpuReading("0", 1 << 30, 1 << 20, 7.0),)
        yield service


async def page(service: Service, **headers: str) -> str:
    async with service.http.get("/metrics", headers=headers) as response:
        return await response.text()


@needs_prometheus
async def test_every_query_of_the_dashboard_returns_data(service: Service, tmp_path: Path) -> None:
    """A Prometheus that scrapes the edge has data for each query, numbers where requests ran.

    Takes some seconds: several scrapes.
    """
    target = f"{service.http._base_url.host}:{service.http._base_url.port}"  # type: ignore[union-attr]
    async with scraping(target, tmp_path) as prometheus:
        await prometheus.wait_for("count_over_time(llm_build_info[1m]) > 1")
        request = service.client.chat("Count to ten.")
        request.sampling.max_tokens = 8
        await collect(service.client.inference.Chat(request))
        body = {"model": MODEL_ID, "prompt": "Count.", "max_tokens": 8}
        async with service.http.post("/api/generate", json=body, headers=TRACE) as response:
            assert response.status == 200
        await prometheus.wait_for('sum(inference_llm_requests_total{status="success"}) == 2')
        await prometheus.wait_for("sum(increase(llm_decode_tokens_total[1m])) > 0")
        for expression in expressions():
            values = await prometheus.wait_for(expression)
            assert any(map(is_number, values)), f"no number: {expression}"
        exemplars = await prometheus.exemplars("http_request_duration_seconds_bucket")
    assert {"trace_id": TRACE_ID} in exemplars


@needs_prometheus
async def test_pages_are_clean(service: Service) -> None:
    """Of both pages, promtool objects to nothing but the colons in the engines' names."""
    front = f"http://127.0.0.1:{service.client.app.metrics_port}/metrics"
    async with aiohttp.ClientSession() as http, http.get(front) as response:
        pages = [await response.text(), await page(service)]
    for text in pages:
        _, lines = await promtool("check", "metrics", text=text)
        assert [line for line in lines if not line.startswith("llamacpp:")] == []
        own = [line for line in text.splitlines(keepends=True) if "llamacpp:" not in line]
        assert await promtool("check", "metrics", text="".join(own)) == (0, [])


async def test_open_metrics_end_once(service: Service) -> None:
    """The edge's page in OpenMetrics has one end, and the trace of a request beside its time."""
    async with service.http.get("/api/llms", headers=TRACE) as response:
        assert response.status == 200
    text = await page(service, **OPEN_METRICS)
    assert "\nllamacpp:requests_processing{" in text, "names are those of the other form"
    assert text.count("# EOF") == 1
    assert text.endswith("# EOF\n")
    assert f'# {{trace_id="{TRACE_ID}"}}' in text


@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
async def test_rules(arguments: tuple[str, ...]) -> None:
    """The rules are valid, and fire when they should."""
    *words, name = arguments
    status, lines = await promtool(*words, str(FOLDER / name))
    assert status == 0, lines


def test_every_alert_is_tried() -> None:
    """The tests of the rules name each of them."""
    alerts = re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    tried = (FOLDER / "alerts_test.yml").read_text()
    assert [alert for alert in alerts if alert not in tried] == []


def test_series_of_dashboard_and_alerts_are_documented() -> None:
    """No query reads a series that does not exist."""
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    names = {
        re.sub(r"_bucket$", "", name)
        for expression in [*expressions(), *asked]
        for name in NAME.findall(LABELS.sub("", expression))
    }
    assert len(names) > 30
    documented = set(re.findall(r"`([\w:]+)`", read_page("observability.md")))
    assert names - documented == set()


def test_compose_names_what_is_there() -> None:
    """Mounted files exist, services know each other by name, images are pinned, variables known."""
    compose = yaml.safe_load((FOLDER / "compose.yml").read_text())
    services: dict[str, dict[str, Any]] = compose["services"]
    assert set(services) == {"tokenwire", "prometheus", "grafana", "otel-collector"}
    for each in services.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", each.get("image", ":1.0.0"))
        for volume in each["volumes"]:
            source = volume.split(":")[0]
            assert (FOLDER / source).exists() if source[0] == "." else source in compose["volumes"]
    context = (FOLDER / services["tokenwire"]["build"]["context"]).resolve()
    assert (
        f"AS {services['tokenwire']['build']['target']}\n" in (context / "Dockerfile").read_text()
    )
    assert set(services["tokenwire"]["environment"]) <= set(known_variables())
    addresses = " ".join(
        [
            services["tokenwire"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"],
            (FOLDER / "prometheus.yml").read_text(),
            (FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text(),
        ]
    )
    for address in ("otel-collector:4317", "tokenwire:8091", "prometheus:9090"):
        assert address in addresses
    collector = yaml.safe_load((FOLDER / "otel-collector.yml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for kind, named in pipeline.items():
            assert set(named) <= set(collector[kind])
