"""Metrics of the models and of their requests, as they are scraped."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.load_progress import Download, LoadProgress, ReportProgress
from tokenwire.server.models.model_state import PreparedModel, State

from ...fronts import (
    collect,
    scrape,
    start_front,
    wait_for_state,
)
from ...scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"
BOTH = {"LLM_ALLOWED_MODELS": f"{A},{B}"}


async def test_metrics_are_there_from_the_start_and_count() -> None:
    """Every counter exists before the first request, and counts it afterwards."""
    engine = ScriptedEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        before = await scrape(client)
        request = client.chat("go")
        request.sampling.max_tokens = 3
        await collect(client.inference.Chat(request))
        after = await scrape(client)
    labels = (
        'grpc_method="Chat",grpc_service="tokenwire.v1.InferenceService",grpc_type="server_stream"'
    )
    started = f"grpc_server_started_total{{{labels}}}"
    assert f"{started} 0.0" in before
    assert f"{started} 1.0" in after
    finished = f'llm_requests_finished_total{{finish_reason="length",model="{MODEL_ID}"}}'
    assert f"{finished} 0.0" in before
    assert f"{finished} 1.0" in after
    assert f'llm_requests_in_flight{{model="{MODEL_ID}"}} 0.0' in after
    assert any(line.startswith("llm_build_info") for line in before)


@pytest.mark.parametrize(
    ("has_scales", "told", "gauge"),
    [(False, False, "1.0"), (True, True, "0.0"), (None, None, "0.0")],
)
async def test_fp8_cache_without_scales_is_told(
    has_scales: bool | None, told: bool | None, gauge: str
) -> None:
    """An FP8 KV cache without scales of its own shows in ListModels and as a metric."""
    launcher = ScriptedLauncher(ScriptedEngine(has_kv_cache_scales=has_scales))
    async with start_front(launcher.prepare, LLM_ALLOWED_MODELS=A) as client:
        model = (await client.list_models())[A]
        lines = await scrape(client)
    assert model.HasField("has_kv_cache_scales") == (told is not None)
    assert model.has_kv_cache_scales == bool(told)
    assert f'llm_kv_cache_without_scales{{model="{A}"}} {gauge}' in lines


async def test_a_download_is_a_metric() -> None:
    """Bytes of the last download stay when other steps follow; without one they are zero."""
    engines = {A: ScriptedLauncher(ScriptedEngine()), B: ScriptedLauncher(ScriptedEngine())}

    async def prepare(model_id: str, report: ReportProgress) -> PreparedModel:
        if model_id == A:
            report(LoadProgress("downloading", 0.75, "", Download(30, 40)))
            report(LoadProgress("looking for the adapter x"))
        return await engines[model_id].prepare(model_id, report)

    async with start_front(prepare, **BOTH) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        lines = await scrape(client)
    for model, num_bytes, num_expected in ((A, 30.0, 40.0), (B, 0.0, 0.0)):
        assert f'llm_model_download_bytes{{model="{model}"}} {num_bytes}' in lines
        assert f'llm_model_download_expected_bytes{{model="{model}"}} {num_expected}' in lines


async def test_states_are_metrics() -> None:
    """For each model one of the states is 1: a model that rests is not one that broke."""
    outcomes = {A: ModelLoadFailed("broken"), B: ScriptedLauncher(ScriptedEngine())}
    async with start_front(
        ScriptedPreparation(outcomes).prepare, wait=False, LLM_LAZY_LOAD=B, **BOTH
    ) as client:
        await wait_for_state(client.app, State.UNLOADED, model=B)
        lines = await scrape(client)
    assert f'llm_model_state{{model="{A}",state="failed"}} 1.0' in lines
    assert f'llm_model_state{{model="{A}",state="unloaded"}} 0.0' in lines
    assert f'llm_model_state{{model="{B}",state="unloaded"}} 1.0' in lines


async def test_adapters_are_counted_under_their_names() -> None:
    """Counters of an adapter exist from the start, under the name that requests give."""
    launcher = ScriptedLauncher(ScriptedEngine(lora_adapters=("poet",)), adapters=("poet",))
    async with start_front(
        launcher.prepare, LLM_ALLOWED_MODELS=A, LLM_LORA_ADAPTERS="poet=loras/poet"
    ) as client:
        lines = await scrape(client)
    assert 'llm_requests_aborted_total{cause="CLIENT_LEFT",model="poet"} 0.0' in lines
