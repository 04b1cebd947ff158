"""Numbers of keys, as they are scraped."""

from __future__ import annotations

from pathlib import Path

from ...fronts import collect, failure_of, scrape, start_front
from ...key_files import write_keys
from ...scripted_engine import ScriptedEngine, ScriptedLauncher


async def test_series_of_every_key_are_there_from_the_start(tmp_path: Path) -> None:
    """Zeros for each name and outcome; nothing about keys that are not in the file."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, alice="", bob="requests_per_minute = 1")
    engine = ScriptedEngine()
    engine.allow(1)
    async with start_front(
        ScriptedLauncher(engine).prepare,
        LLM_API_KEYS_FILE=str(path),
        LLM_API_KEYS_OPEN="metrics",
    ) as client:
        before = [line for line in await scrape(client) if line.startswith("llm_api_key")]
        request = client.chat("go")
        request.sampling.max_tokens = 1
        bob = (("x-api-key", texts["bob"]),)
        await collect(client.inference.Chat(request, metadata=bob))
        await failure_of(client.inference.Chat(request, metadata=bob))
        await failure_of(client.inference.Chat(request))
        after = set(await scrape(client))
    values = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in before}
    assert {value for name, value in values.items() if "_created" not in name} == {"0.0"}
    for name in ("alice", "bob"):
        for outcome in ("finished", "failed", "aborted"):
            assert f'llm_api_key_requests_total{{key="{name}",outcome="{outcome}"}}' in values
    assert 'llm_api_key_requests_total{key="bob",outcome="finished"} 1.0' in after
    assert 'llm_api_key_refusals_total{key="bob",reason="QUOTA_EXCEEDED"} 1.0' in after
    assert 'llm_api_key_refusals_total{key="",reason="UNAUTHENTICATED"} 1.0' in after
    assert 'llm_api_key_requests_total{key="alice",outcome="finished"} 0.0' in after
