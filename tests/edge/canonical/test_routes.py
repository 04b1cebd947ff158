"""The proto's own routes."""

from __future__ import annotations

import json

import aiohttp
from tokenwire.edge.canonical.routes import bindings

from ...conftest import MODEL_ID
from ..sse_reading import read_events

ENDLESS = {
    "model": MODEL_ID,
    "text": "One, two, three,",
    "sampling": {"ignoreEos": True, "maxTokens": 900, "temperature": 0},
}


def test_the_protos_own_routes_come_from_its_options() -> None:
    """The three rpcs are served where `google.api.http` says."""
    assert {(b.rpc.name, b.verb, b.path) for b in bindings()} == {
        ("Generate", "POST", "/tokenwire/v1/generate"),
        ("Chat", "POST", "/tokenwire/v1/chat"),
        ("ListModels", "GET", "/tokenwire/v1/models"),
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
