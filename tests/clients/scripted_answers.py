"""What the scripted front answers to the clients, by the name of the model that they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2
from tokenwire.server.contract.errors import (
    AtCapacity,
    EngineLost,
    InferenceError,
    PermissionDenied,
    QuotaExceeded,
    Unauthenticated,
)

from ..edge.scripted import ScriptedFront, ended, fail, final, started, text

_CALLS = [
    events_pb2.ToolCallDelta(
        index=index, id=f"call_{index}", name="get_weather", arguments=f'{{"city": "{city}"}}'
    )
    for index, city in enumerate(("Paris", "Rome"))
]


def _failure(model: str) -> InferenceError | None:
    match model:
        case "unauthenticated":
            return Unauthenticated("an API key is required")
        case "forbidden":
            return PermissionDenied("this key may not use the model")
        case "quota":
            return QuotaExceeded("this key has used what it may", limit=1, retry_after_s=1)
        case "busy" | "flaky":
            failure = AtCapacity("every slot is busy")
            failure.retry_after_s = 1
            return failure
    return None


class Answers:
    """Answers as the model's name says: with calls, thinking, a failure, or for ever."""

    def __init__(self) -> None:
        self._num_left = 0
        self._left = asyncio.Condition()
        self._fails_next = True

    async def all_left(self, number: int) -> None:
        """Returns once so many endless answers were left by their clients."""
        async with self._left:
            await self._left.wait_for(lambda: self._num_left >= number)

    async def answer(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """A script of `ScriptedFront`."""
        failure = _failure(request.model)
        if request.model == "flaky":  # every other call
            self._fails_next, fails = not self._fails_next, self._fails_next
            failure = failure if fails else None
        if failure is not None:
            await fail(context, failure)
        if request.delivery == events_pb2.DELIVERY_FINAL:
            yield await self._whole(request)
            return
        yield started(request)
        for event in self._told(request):
            yield event
        if request.model == "breaks":
            await fail(context, EngineLost("the engine stopped"))
        if request.model == "endless":
            await self._wait_until_left()
        is_calling = _calls(request)
        reason = events_pb2.FINISH_REASON_TOOL_CALLS if is_calling else events_pb2.FINISH_REASON_EOS
        for event in ended(request, reason):
            yield event

    async def _whole(self, request: Any) -> Any:
        if request.model == "endless":
            await self._wait_until_left()
        calls = _calls(request)
        if calls:
            answer = final(request, "", events_pb2.FINISH_REASON_TOOL_CALLS)
            answer.finished.choices[0].tool_calls.extend(calls)
            return answer
        answer = final(request, _said(request))
        if request.model == "thinks":
            answer.finished.choices[0].reasoning = "hm"
        return answer

    def _told(self, request: Any) -> list[Any]:
        if calls := _calls(request):
            events = []
            for call in calls:
                head = events_pb2.ToolCallDelta(index=call.index, id=call.id, name=call.name)
                half = len(call.arguments) // 2
                parts = [call.arguments[:half], call.arguments[half:]]
                for part in (
                    head,
                    *(events_pb2.ToolCallDelta(index=call.index, arguments=p) for p in parts),
                ):
                    event = text(request, "")
                    event.deltas.deltas[0].tool_call.CopyFrom(part)
                    events.append(event)
            return events
        events = [text(request, _said(request))]
        if request.model == "thinks":
            thought = text(request, "")
            thought.deltas.deltas[0].reasoning.text = "hm"
            events.insert(0, thought)
        return events

    async def _wait_until_left(self) -> None:
        try:
            await asyncio.Event().wait()  # until the client leaves
        finally:
            async with self._left:
                self._num_left += 1
                self._left.notify_all()


def _calls(request: Any) -> list[events_pb2.ToolCallDelta]:
    is_asked = request.model == "tools" and request.messages[-1].role == chat_pb2.ROLE_USER
    return _CALLS if is_asked else []


def _said(request: Any) -> str:
    results = [
        "".join(part.text for part in message.content)
        for message in request.messages
        if message.role == chat_pb2.ROLE_TOOL
    ]
    return f"I heard: {', '.join(results)}" if results else "Hi."


def scripted_answers(front: ScriptedFront) -> Answers:
    """Has a front answer so."""
    answers = Answers()
    front.script = answers.answer
    return answers
