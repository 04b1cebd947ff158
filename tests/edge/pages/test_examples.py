"""Every example of the OpenAPI document, against the real service."""

from __future__ import annotations

import aiohttp
import pytest

from .document import Call, calls, validate, validate_stream


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: call.name)
async def test_an_example_runs(http: aiohttp.ClientSession, call: Call) -> None:
    """It is answered with 200, in a form and with a body that the document has."""
    async with http.request(call.method, call.path, json=call.body) as response:
        body = await response.text()
        assert response.status == 200, body
        media = call.responses["200"]["content"][response.content_type]
        if response.content_type == "text/event-stream":
            assert validate_stream(body, media) > 1
        elif response.content_type == "application/json":
            validate(await response.json(), media["schema"])
        else:
            assert media["schema"] == {"type": "string"}
            assert body
