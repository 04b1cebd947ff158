"""What libraries log of clients."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tokenwire.logs.client_words import leave_out_client_words

from ..faults.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Connection,
    call_head,
    frame,
)
from ..server.fronts import start_front
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher

LIST = "/tokenwire.v1.InferenceService/ListModels"
SECRET = b"\xff\xfe a secret"


async def test_metadata_that_is_no_text_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What gRPC tells of it as an error, with all its bytes, is left out; the call is served."""
    leave_out_client_words()
    block = call_head(LIST) + b"\x00\x05x-odd" + bytes([len(SECRET)]) + SECRET
    async with (
        asyncio.timeout(45),
        start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client,
        await Connection.open(client.app.port) as connection,
    ):
        await connection.send(
            frame(HEADERS, END_HEADERS, 1, block), frame(DATA, END_STREAM, 1, bytes(5))
        )
        answer, _ = await connection.end_of(1)
    assert b"test/scripted" in answer
    assert "secret" not in caplog.text
    assert not [each for each in caplog.records if each.name.startswith("grpc._cython")]


def test_other_records_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """A failure of gRPC's own is told whole."""
    leave_out_client_words()
    logging.getLogger("grpc._cython.cygrpc").error("Something else: %s", 5)
    assert [each.getMessage() for each in caplog.records] == ["Something else: 5"]
