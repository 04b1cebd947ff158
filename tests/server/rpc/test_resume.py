"""Requests that outlive their calls, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.access.api_key import make_key

from ..fronts import CHAT, Answer, Client, collect, connect, failure_of, scrape, start_front
from ..key_files import lines_of, replace_file, write_keys
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

LONG = Duration(seconds=60)


def detachable(client: Client, num_tokens: int = 6, **fields: Any) -> inference_pb2.ChatRequest:
    """A chat that outlives its call."""
    request = client.chat("go", detach_timeout=LONG, **fields)
    request.sampling.max_tokens = num_tokens
    return request


def resume(request_id: str, after: int = 0, **fields: Any) -> inference_pb2.ChatRequest:
    """A call that takes a chat up again."""
    taken_up = inference_pb2.Resume(request_id=request_id, after_position=after)
    return inference_pb2.ChatRequest(resume=taken_up, **fields)


async def read_some(stream: Any, num_tokens: int) -> Answer:
    """Reads a stream up to so many tokens, each of which is one delta of the scripted engine."""
    answer = Answer("", [], None, None, None, [])
    while not answer.positions or answer.positions[-1] < num_tokens:
        response = await stream.read()
        answer.events.append(response.WhichOneof("event"))
        answer.positions.append(response.position)
        if answer.events[-1] == "started":
            answer.started = response.started
        for delta in response.deltas.deltas:
            answer.text += delta.text.text
    return answer


async def begin_and_leave(
    client: Client, engine: ScriptedEngine, num_tokens: int = 2, *, of: int = 6
) -> Answer:
    """Starts a chat `of` so many tokens, reads some of it, and leaves it, by losing the connection.

    Returns once the front has seen that: until then it would go on to send each token by itself.
    """
    async with connect(client.app) as other:
        stream = other.inference.Chat(detachable(client, of))
        engine.allow(num_tokens)
        answer = await read_some(stream, num_tokens)
        kept = client.app._kept.find("Chat", answer.started.request_id, "")
    async with asyncio.timeout(45):
        while kept._reader is not None:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)
    return answer


async def test_request_goes_on_without_its_client_and_is_taken_up() -> None:
    """A lost client's request is not aborted, and nothing of it is lost or told twice."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        engine.allow(100)
        await engine.wait_until(running=0)
        rest = await collect(
            client.inference.Chat(resume(first.started.request_id, first.positions[-1]))
        )
    assert first.text + rest.text == "0 1 2 3 4 5 "
    assert engine.num_aborted == 0
    assert rest.events[0] == "started"
    assert rest.started == first.started
    assert rest.positions[0] == first.positions[-1]
    assert rest.positions == sorted(rest.positions)
    assert rest.finished.usage.num_completion_tokens == 6


async def test_request_that_still_runs_is_taken_up() -> None:
    """Whoever comes back in the middle gets what was missed, and then each token as it comes."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        stream = client.inference.Chat(resume(first.started.request_id, first.positions[-1]))
        engine.allow(1)
        middle = await read_some(stream, 3)
        engine.allow(100)
        rest = await collect(stream)
    assert first.text + middle.text + rest.text == "0 1 2 3 4 5 "


async def test_whole_answer_is_given_from_the_start() -> None:
    """Without a position all of it is sent again, also as one message."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        engine.allow(100)
        request_id = first.started.request_id
        again = await collect(client.inference.Chat(resume(request_id)))
        final = await client.unary(CHAT)(resume(request_id, delivery=events_pb2.DELIVERY_FINAL))
    assert again.text == "0 1 2 3 4 5 "
    assert final.finished.choices[0].text == "0 1 2 3 4 5 "
    assert final.finished.started == first.started


async def test_request_whose_time_is_over_is_aborted() -> None:
    """A client that does not come back in time finds nothing, and the engine is free."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = detachable(client)
        request.detach_timeout.FromMilliseconds(1)
        stream = client.inference.Chat(request)
        engine.allow(1)
        answer = await read_some(stream, 1)
        stream.cancel()
        await engine.wait_until(running=0, aborted=1)
        failure = await failure_of(client.inference.Chat(resume(answer.started.request_id)))
    assert failure.code is grpc.StatusCode.OUT_OF_RANGE
    assert failure.reason == "RESUME_EXPIRED"
    assert answer.started.request_id in failure.message


async def test_newer_of_two_clients_wins() -> None:
    """The older hears that another took its stream over; the newer gets everything."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        older = client.inference.Chat(detachable(client))
        engine.allow(2)
        first = await read_some(older, 2)
        newer = client.inference.Chat(resume(first.started.request_id, 2))
        assert (await newer.read()).HasField("started")
        failure = await failure_of(older)
        engine.allow(100)
        rest = await collect(newer)
    assert failure.code is grpc.StatusCode.ABORTED
    assert failure.reason == "TAKEN_OVER"
    assert first.text + rest.text == "0 1 2 3 4 5 "
    assert engine.num_aborted == 0


async def test_resumed_call_sets_the_time_anew() -> None:
    """With a detach_timeout of zero the request ends with the call that took it up."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        request_id = first.started.request_id
        stream = client.inference.Chat(resume(request_id, detach_timeout=Duration()))
        await read_some(stream, 2)
        stream.cancel()
        await engine.wait_until(running=0, aborted=1)


async def test_limit_of_the_server_bounds_the_time() -> None:
    """A longer detach_timeout than the server allows is cut to that; zero allows none."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_MAX_DETACH_S="0") as client:
        await begin_and_leave(client, engine)
        await engine.wait_until(running=0, aborted=1)


async def test_failed_request_tells_its_failure_again() -> None:
    """A request that was refused says so to whoever takes it up."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("word " * 100, detach_timeout=LONG)
        failures = [
            await failure_of(client.inference.Chat(request, metadata=(("x-request-id", "r1"),))),
            await failure_of(client.inference.Chat(resume("r1"))),
        ]
    assert [failure.reason for failure in failures] == ["CONTEXT_TOO_LONG"] * 2


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"after": 99}, "resume.after_position", "at most 2, got 99"),
        ({"model": "owner/other"}, "model", "test/scripted"),
        ({"cache_salt": "x"}, "cache_salt", "cannot be combined with resume"),
    ],
)
async def test_call_that_does_not_fit_is_refused(
    change: dict[str, Any], field: str, text: str
) -> None:
    """What is wrong with a call that takes a request up is named; the request goes on."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        request_id = first.started.request_id
        failure = await failure_of(client.inference.Chat(resume(request_id, **change)))
        engine.allow(100)
        whole = await collect(client.inference.Chat(resume(request_id)))
    assert failure.fields == [field]
    assert text in failure.message
    assert whole.text == "0 1 2 3 4 5 "


async def test_other_method_is_refused_by_name() -> None:
    """What Chat began is not Generate's; an empty id is no id."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine)
        request = inference_pb2.GenerateRequest()
        request.resume.request_id = first.started.request_id
        wrong = await failure_of(client.inference.Generate(request))
        empty = await failure_of(client.inference.Chat(resume("")))
    assert wrong.fields == empty.fields == ["resume.request_id"]
    assert "Chat began" in wrong.message


async def test_position_between_two_that_were_told_is_refused() -> None:
    """Deltas that were joined before anybody took them have no position of their own."""
    engine = ScriptedEngine(context_length=1000)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine, of=300)
        engine.allow(300)
        await engine.wait_until(running=0)
        request_id = first.started.request_id
        failure = await failure_of(client.inference.Chat(resume(request_id, 3)))
        rest = await collect(client.inference.Chat(resume(request_id, 2)))
    assert failure.fields == ["resume.after_position"]
    assert "got 3" in failure.message
    assert first.text + rest.text == "".join(f"{number} " for number in range(300))


async def test_what_is_no_longer_kept_is_told_with_the_oldest_position() -> None:
    """A client that is too far behind hears from where on there is text."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = await begin_and_leave(client, engine, num_tokens=1)
        kept = client.app._kept.find("Chat", first.started.request_id, "")
        kept.log._max_bytes = 600
        engine.allow(100)
        await engine.wait_until(running=0)
        failure = await failure_of(client.inference.Chat(resume(first.started.request_id, 1)))
        oldest = int(failure.metadata["oldest_position"])
        rest = await collect(client.inference.Chat(resume(first.started.request_id, oldest)))
    assert failure.code is grpc.StatusCode.OUT_OF_RANGE
    assert failure.reason == "RESUME_EXPIRED"
    assert 1 < oldest < 7
    assert rest.text == "".join(f"{number} " for number in range(oldest, 6))


async def test_id_of_a_running_request_cannot_be_taken() -> None:
    """A second request of the same id is refused while the first runs, and takes its place then."""
    engine = ScriptedEngine()
    metadata = (("x-request-id", "r1"),)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = client.inference.Chat(detachable(client, 1), metadata=metadata)
        await engine.wait_until(running=1)
        refused = await failure_of(client.inference.Chat(detachable(client), metadata=metadata))
        engine.allow(100)
        assert (await collect(first)).text == "0 "
        await collect(client.inference.Chat(detachable(client, 3), metadata=metadata))
        again = await collect(client.inference.Chat(resume("r1")))
    assert refused.fields == ["detach_timeout"]
    assert "'r1' still runs" in refused.message
    assert again.text == "0 1 2 "


async def test_room_is_what_was_said() -> None:
    """As many as run at once are kept, also where the longest answers would not fit together."""
    engine = ScriptedEngine()
    room = {"LLM_RESUME_BYTES": str(64 << 10), "LLM_MAX_RESUME_BYTES": str(64 << 10)}
    async with start_front(ScriptedLauncher(engine).prepare, **room) as client:
        answers = [await begin_and_leave(client, engine, 1)]
        engine.allow(100)
        answers += [await begin_and_leave(client, engine, 1) for _ in range(3)]
        for answer in answers:
            request = resume(answer.started.request_id, answer.positions[-1])
            rest = await collect(client.inference.Chat(request))
            assert answer.text + rest.text == "0 1 2 3 4 5 "


async def test_resumes_are_counted_and_told() -> None:
    """Metrics say what is kept and what became of resumes, and the request's line how many."""
    engine = ScriptedEngine()
    with structlog.testing.capture_logs() as lines:
        async with start_front(ScriptedLauncher(engine).prepare) as client:
            before = await scrape(client)
            first = await begin_and_leave(client, engine)
            request_id = first.started.request_id
            await failure_of(client.inference.Chat(resume("nobody")))
            await failure_of(client.inference.Chat(resume(request_id, 99)))
            stream = client.inference.Chat(resume(request_id))
            await read_some(stream, 2)
            engine.allow(100)
            await collect(stream)
            after = await scrape(client)
    outcomes = ("resumed", "expired", "refused")
    for outcome in outcomes:
        assert f'llm_resumes_total{{outcome="{outcome}"}} 0.0' in before
        assert f'llm_resumes_total{{outcome="{outcome}"}} 1.0' in after
    assert "llm_kept_requests 0.0" in before
    assert "llm_kept_request_bytes 0.0" in before
    assert "llm_kept_requests 1.0" in after
    ends = [line for line in lines if line["event"] == "request"]
    assert [line["num_resumes"] for line in ends] == [1]


async def test_key_that_lost_its_model_does_not_resume(tmp_path: Path) -> None:
    """A key whose entry changed is held to what it says now."""
    path = tmp_path / "keys.toml"
    made = make_key("one")
    replace_file(path, lines_of(made))
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path)) as client:
        engine.allow(100)
        metadata = (("authorization", f"Bearer {made.text}"), ("x-request-id", "r1"))
        await collect(client.inference.Chat(detachable(client), metadata=metadata))
        ring = client.app._access._ring
        assert ring is not None
        replace_file(path, lines_of(made, 'models = ["owner/other"]'))
        ring.reload()
        failure = await failure_of(client.inference.Chat(resume("r1"), metadata=metadata[:1]))
    assert failure.reason == "PERMISSION_DENIED"


async def test_drain_waits_for_a_request_without_its_client() -> None:
    """A request that is kept finishes within the drain, and may be taken up meanwhile."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_DRAIN_TIMEOUT_S="60") as client:
        first = await begin_and_leave(client, engine)
        draining = asyncio.create_task(client.app.drain())
        refused = None
        while refused is None or refused.reason != "DRAINING":
            engine.allow(1)
            refused = await failure_of(
                client.inference.Chat(client.chat("more", max_queue_wait=Duration()))
            )
        stream = client.inference.Chat(resume(first.started.request_id, 2))
        assert (await stream.read()).HasField("started")
        engine.allow(100)
        rest = await collect(stream)
        await draining
    assert first.text + rest.text == "0 1 2 3 4 5 "


async def test_one_caller_does_not_find_what_another_began(tmp_path: Path) -> None:
    """A request belongs to the key that it came with; with another it is as if there were none."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, one="", two="")
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path)) as client:
        engine.allow(100)
        metadata = [("authorization", f"Bearer {texts[name]}") for name in ("one", "two")]
        stream = client.inference.Chat(
            detachable(client), metadata=(metadata[0], ("x-request-id", "r1"))
        )
        await collect(stream)
        failure = await failure_of(client.inference.Chat(resume("r1"), metadata=metadata[1:]))
        own = await collect(client.inference.Chat(resume("r1"), metadata=metadata[:1]))
        unknown = await failure_of(client.inference.Chat(resume("r2"), metadata=metadata[:1]))
    assert failure.reason == unknown.reason == "RESUME_EXPIRED"
    assert failure.message == unknown.message.replace("r2", "r1")
    assert own.text == "0 1 2 3 4 5 "


async def test_a_caller_who_is_refused_costs_nobody_his_answer(tmp_path: Path) -> None:
    """What the key may not do is refused before an earlier request of the same id is let go of."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, one="tokens_per_minute = 2")
    engine = ScriptedEngine()
    metadata = (("x-request-id", "r1"), ("authorization", f"Bearer {texts['one']}"))
    async with start_front(ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path)) as client:
        engine.allow(100)
        await collect(client.inference.Chat(detachable(client), metadata=metadata))
        refused = await failure_of(client.inference.Chat(detachable(client), metadata=metadata))
        again = await collect(client.inference.Chat(resume("r1"), metadata=metadata[1:]))
    assert refused.reason == "QUOTA_EXCEEDED"
    assert again.text == "0 1 2 3 4 5 "
