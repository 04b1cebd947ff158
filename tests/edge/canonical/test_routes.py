"""The proto's own routes."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.canonical.routes import bindings

from ...conftest import MODEL_ID
from ..scripted import ScriptedFront
from ..sse_reading import read_events

ENDLESS = {
    "model": MODEL_ID,
    "text": "One, two, three,",
    "sampling": {"ignoreEos": True, "maxTokens": 900, "temperature": 0},
}


def test_the_protos_own_routes_come_from_its_options() -> None:
    """The rpcs are served where `google.api.http` says."""
    assert {(b.rpc.name, b.verb, b.path) for b in bindings()} == {
        ("Generate", "POST", "/tokenwire/v1/generate"),
        ("Chat", "POST", "/tokenwire/v1/chat"),
        ("ListModels", "GET", "/tokenwire/v1/models"),
        ("Tokenize", "POST", "/tokenwire/v1/tokenize"),
        ("Detokenize", "POST", "/tokenwire/v1/detokenize"),
        ("CountTokens", "POST", "/tokenwire/v1/count_tokens"),
    }


async def test_canonical_final_is_one_json_body(http: aiohttp.ClientSession) -> None:
    """Delivery FINAL is the one message as plain JSON, and equals the sum of the stream."""
    request = {**ENDLESS, "sampling": {"temperature": 0, "maxTokens": 6}}
    async with http.post("/tokenwire/v1/generate", json=request) as response:
        events = await read_events(response)
    deltas = [d for e in events if "deltas" in e for d in e["deltas"]["deltas"]]
    final = {**request, "delivery": "DELIVERY_FINAL"}
    async with http.post("/tokenwire/v1/generate", json=final) as response:
        assert response.content_type == "application/json"
        whole = json.loads(await response.text())
    assert list(events[0]) == ["started"]
    assert "finished" in events[-1]
    (choice,) = whole["finished"]["choices"]
    assert choice["text"] == "".join(d["text"]["text"] for d in deltas if "text" in d)
    assert whole["finished"]["usage"]["numCompletionTokens"] == 6


async def test_canonical_models(http: aiohttp.ClientSession) -> None:
    """The model list of the proto's own route is canonical proto-JSON."""
    async with http.get("/tokenwire/v1/models") as response:
        assert response.status == 200
        (model,) = (await response.json())["models"]
    assert model["id"] == MODEL_ID
    assert model["state"] == "MODEL_STATE_SERVING"
    assert model["capabilities"]["chat"] is True


async def test_tokenize_and_detokenize(http: aiohttp.ClientSession) -> None:
    """A text becomes token ids, with their pieces in base64, and the ids become the text."""
    asked = {"model": MODEL_ID, "text": "Paris is 🦩", "returnPieces": True}
    async with http.post("/tokenwire/v1/tokenize", json=asked) as response:
        assert response.status == 200
        tokens = await response.json()
    assert b"".join(map(base64.b64decode, tokens["pieces"])).decode() == asked["text"]
    back = {"model": MODEL_ID, "token_ids": tokens["tokenIds"]}
    async with http.post("/tokenwire/v1/detokenize", json=back) as response:
        assert await response.json() == {"text": asked["text"]}
    back["token_ids"] = tokens["tokenIds"][:-1]
    async with http.post("/tokenwire/v1/detokenize", json=back) as response:
        part = await response.json()
    assert "\ufffd" in part["text"]
    assert asked["text"].encode().startswith(base64.b64decode(part["data"]))


async def test_count_is_the_usage_of_the_answer(http: aiohttp.ClientSession) -> None:
    """A request is counted as it is read when it is sent, its template included."""
    chat = {
        "model": MODEL_ID,
        "messages": [{"role": "ROLE_USER", "content": [{"text": "What is the capital of Peru?"}]}],
        "sampling": {"maxTokens": 1},
        "delivery": "DELIVERY_FINAL",
    }
    async with http.post("/tokenwire/v1/count_tokens", json={"chat": chat}) as response:
        counted = await response.json()
    async with http.post("/tokenwire/v1/chat", json=chat) as response:
        usage = (await response.json())["finished"]["usage"]
    assert counted["numPromptTokens"] == usage["numPromptTokens"] > 10
    async with http.post("/tokenwire/v1/count_tokens", json={"chat": {"model": "x"}}) as response:
        assert response.status == 400
        details = (await response.json())["details"]
    (bad,) = (detail for detail in details if "fieldViolations" in detail)
    assert [violation["field"] for violation in bad["fieldViolations"]] == ["chat.messages"]


async def test_calls_follow_new_credentials(
    scripted_edge: EdgeApp, scripted_http: aiohttp.ClientSession
) -> None:
    """A route calls over the channel that is there now, not over the one of its start."""
    scripted_edge._front.renew(None)
    (retired,) = scripted_edge._front._retired.values()
    await retired.close()
    async with scripted_http.get("/tokenwire/v1/models") as response:
        assert response.status == 200


COUNTED = {"generate": {"model": "m", "text": "Hi"}}


async def test_count_waits_as_long_as_the_front(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A call that may wait for a model has the caller's deadline, or none but the front's."""
    async with scripted_http.post("/tokenwire/v1/count_tokens", json=COUNTED) as response:
        assert await response.json() == {"numPromptTokens": 3}
    assert scripted.remaining_s is None
    timeout = {"grpc-timeout": "100S"}
    async with scripted_http.post(
        "/tokenwire/v1/count_tokens", json=COUNTED, headers=timeout
    ) as response:
        assert response.status == 200
    assert scripted.remaining_s is not None
    # gRPC rounds it up by a hundredth at most on its way.
    assert 50 < scripted.remaining_s <= 101


async def test_leaving_a_count_cancels_it(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A client that leaves while its call waits ends the call to the front."""
    scripted.counts.clear()
    asking = asyncio.ensure_future(scripted_http.post("/tokenwire/v1/count_tokens", json=COUNTED))
    async with asyncio.timeout(45):
        await scripted.entered.wait()
        asking.cancel()
        await scripted.cancelled.wait()


async def test_drain_ends_a_count(
    scripted: ScriptedFront, scripted_edge: EdgeApp, scripted_http: aiohttp.ClientSession
) -> None:
    """A call that still waits at the end of the drain is answered with DRAINING."""
    scripted.counts.clear()
    asking = asyncio.ensure_future(scripted_http.post("/tokenwire/v1/count_tokens", json=COUNTED))
    async with asyncio.timeout(45):
        await scripted.entered.wait()
        scripted_edge._front.end_calls()
        async with await asking as response:
            assert response.status == 503
            assert "draining" in (await response.json())["message"]


@pytest.mark.parametrize(
    ("asked", "has_ids"),
    [({}, False), ({"detachTimeout": "0s"}, False), ({"detachTimeout": "9s"}, True)],
)
async def test_kept_stream_has_ids(
    scripted_http: aiohttp.ClientSession, asked: dict[str, Any], has_ids: bool
) -> None:
    """Each event of a stream that can be resumed has its position as its id, the last one `end`."""
    body = {"model": "m", "text": "Hi", **asked}
    async with scripted_http.post("/tokenwire/v1/generate", json=body) as response:
        lines = (await response.text()).splitlines()
    ids = [line for line in lines if line.startswith("id: ")]
    assert ids == (["id: 0"] * 3 + ["id: end"] if has_ids else [])
