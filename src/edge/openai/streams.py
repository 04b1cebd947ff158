"""The events of OpenAI's streams, ended by `[DONE]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from ..errors import Failure
from ..sse import Event, data_event
from .chat_codec import ChatAsked, chat_usage
from .completions_codec import CompletionsAsked
from .errors import FieldNames, error_body
from .json_codec import (
    COMPLETION,
    AnswerHead,
    completion_choice,
    completion_usage,
    finish_reason,
)
from .logprobs import Lists, chat_logprobs, completion_lists, end_lists, prompt_lists

_DONE = b"data: [DONE]\n\n"


class _OpenAIStream(ABC):
    """Chunks of several choices, and on request their usage behind them."""

    def __init__(self, model: str, names: FieldNames, *, includes_usage: bool) -> None:
        self._names = names
        self._includes_usage = includes_usage
        self._started = events_pb2.Started(model=model)  # until the engine says more

    def encode(self, event: Event) -> bytes:
        """Returns a chunk for every delta, and what ends the stream."""
        kind = event.WhichOneof("event")
        if kind == "deltas":
            return b"".join([self._encode_delta(delta) for delta in event.deltas.deltas])
        if kind == "started":
            self._started = event.started
            return self._encode_start()
        if kind == "finished":
            return self._encode_end(event.finished)
        return b""

    def heartbeat(self) -> bytes:
        """Returns a chunk with a choice that says nothing: many programs read the first choice."""
        return self._chunk(self._nothing())

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the event that OpenAI's clients raise; no `[DONE]` follows."""
        return data_event(error_body(failure, self._names))

    def _encode_end(self, finished: events_pb2.Finished) -> bytes:
        if not self._includes_usage:
            return _DONE
        return self._chunk(usage=self._usage(finished.usage)) + _DONE

    def _chunk(self, *choices: dict[str, Any], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {**self._head(self._started), "choices": choices}
        if self._includes_usage:
            chunk["usage"] = usage
        return data_event(chunk)

    @abstractmethod
    def _head(self, started: events_pb2.Started) -> dict[str, Any]: ...

    @abstractmethod
    def _usage(self, usage: events_pb2.Usage) -> dict[str, Any]: ...

    @abstractmethod
    def _nothing(self) -> dict[str, Any]: ...

    @abstractmethod
    def _encode_start(self) -> bytes: ...

    @abstractmethod
    def _encode_delta(self, delta: events_pb2.Delta) -> bytes: ...


class ChatStream(_OpenAIStream):
    """A chat in chunks: for each choice its role, its pieces, and why it ended."""

    def __init__(self, head: AnswerHead, asked: ChatAsked) -> None:
        super().__init__(asked.request.model, asked.names, includes_usage=asked.includes_usage)
        self._answer = head
        self._asked = asked

    def _head(self, started: events_pb2.Started) -> dict[str, Any]:
        return {
            **self._answer.fields("chat.completion.chunk", started),
            "service_tier": "default",
        }

    def _usage(self, usage: events_pb2.Usage) -> dict[str, Any]:
        return chat_usage(usage)

    def _nothing(self) -> dict[str, Any]:
        return _chat_choice(0, {})

    def _encode_start(self) -> bytes:
        first = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._piece(index, first) for index in range(self._asked.num_choices))

    def _encode_delta(self, delta: events_pb2.Delta) -> bytes:
        kind = delta.WhichOneof("kind")
        if kind == "text":
            return self._encode_text(delta.choice, delta.text)
        if kind == "reasoning" and delta.reasoning.text:
            return self._piece(delta.choice, {"reasoning_content": delta.reasoning.text})
        if kind == "tool_call":
            return self._encode_call(delta.choice, delta.tool_call)
        if kind == "finished":
            return self._piece(delta.choice, {}, reason=finish_reason(delta.finished))
        return b""

    def _encode_text(self, choice: int, text: events_pb2.TextDelta) -> bytes:
        if text.logprobs:
            logprobs = chat_logprobs(text.logprobs)
            return self._piece(choice, {"content": text.text}, logprobs=logprobs)
        return self._piece(choice, {"content": text.text}) if text.text else b""

    def _encode_call(self, choice: int, call: events_pb2.ToolCallDelta) -> bytes:
        if call.index and self._asked.has_one_call:
            return b""
        function = {"arguments": call.arguments}
        piece: dict[str, Any] = {"index": call.index, "function": function}
        if call.id:  # of the first part alone, as clients append what they get
            piece = {
                "index": call.index,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, **function},
            }
        return self._piece(choice, {"tool_calls": [piece]})

    def _piece(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> bytes:
        return self._chunk(_chat_choice(index, delta, logprobs=logprobs, reason=reason))


def _chat_choice(
    index: int,
    delta: dict[str, Any],
    *,
    logprobs: dict[str, Any] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


class CompletionStream(_OpenAIStream):
    """Completions in chunks. `echoes` are what the answers to each prompt begin with.

    `tells_prompt`: the log-probabilities of a prompt come with its echo, once all are there.
    """

    def __init__(
        self,
        head: AnswerHead,
        *,
        includes_usage: bool,
        model: str = "",
        names: FieldNames | None = None,
        echoes: Sequence[str] = (),
        num_choices: int = 1,
        tells_prompt: bool = False,
    ) -> None:
        super().__init__(model, names or FieldNames(), includes_usage=includes_usage)
        self._answer = head
        self._echoes = echoes
        self._num_choices = num_choices
        self._tells_prompt = tells_prompt
        # Of each prompt by its number, until its answers begin.
        self._prompts = {
            prompt: list[events_pb2.PromptTokenLogprob]()
            for prompt in range(len(echoes) if tells_prompt else 0)
        }
        self._text_offsets = dict[int, int]()

    @classmethod
    def of(
        cls, head: AnswerHead, asked: CompletionsAsked, echoes: Sequence[str]
    ) -> CompletionStream:
        """Returns the stream of one request of `/v1/completions`, with the echo of each prompt."""
        return cls(
            head,
            includes_usage=asked.includes_usage,
            model=asked.requests[0].model,
            names=asked.names,
            echoes=echoes,
            num_choices=asked.num_choices,
            tells_prompt=asked.requests[0].sampling.HasField("prompt_logprobs"),
        )

    def _head(self, started: events_pb2.Started) -> dict[str, Any]:
        return self._answer.fields(COMPLETION, started)

    def _usage(self, usage: events_pb2.Usage) -> dict[str, Any]:
        return completion_usage(usage)

    def _nothing(self) -> dict[str, Any]:
        return completion_choice("")

    def _encode_start(self) -> bytes:
        if self._tells_prompt:
            return b""
        return b"".join(
            self._encode_echo(prompt, None) for prompt, echo in enumerate(self._echoes) if echo
        )

    def _encode_echo(self, prompt: int, logprobs: Lists | None) -> bytes:
        """Returns the echo of a prompt, for each of its answers."""
        first = prompt * self._num_choices
        return b"".join(
            self._chunk(
                completion_choice(self._echoes[prompt], index=index) | {"logprobs": logprobs}
            )
            for index in range(first, first + self._num_choices)
        )

    def _encode_delta(self, delta: events_pb2.Delta) -> bytes:
        kind = delta.WhichOneof("kind")
        prompt = delta.choice // self._num_choices
        if kind == "prompt_logprobs":
            self._prompts[prompt].extend(delta.prompt_logprobs.tokens)
            return b""
        before = b""
        if prompt in self._prompts:
            echo = self._echoes[prompt]
            before = self._encode_echo(prompt, prompt_lists(self._prompts.pop(prompt), echo))
            first = prompt * self._num_choices
            for index in range(first, first + self._num_choices):
                self._text_offsets[index] = len(echo)
        return before + self._encode_piece(kind, delta)

    def _encode_piece(self, kind: str | None, delta: events_pb2.Delta) -> bytes:
        if kind == "text" and (delta.text.text or delta.text.logprobs):
            choice = completion_choice(delta.text.text, index=delta.choice)
            if delta.text.logprobs:
                offset = self._text_offsets.get(delta.choice, 0)
                choice["logprobs"], self._text_offsets[delta.choice] = completion_lists(
                    delta.text.logprobs, offset
                )
            return self._chunk(choice)
        if kind == "finished":
            choice = completion_choice("", delta.finished, index=delta.choice)
            if self._tells_prompt:
                lists = end_lists(delta.finished, self._text_offsets.get(delta.choice, 0))
                choice["logprobs"] = lists if lists["tokens"] else None
            return self._chunk(choice)
        return b""
