"""A whole answer, put together from its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..generated.tokenwire.v1 import chat_pb2, events_pb2
from .events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    Progress,
    PromptLogprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .messages import assistant


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` are JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to the prompt."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    matched: str | int | None = None
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[events_pb2.TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """All that one request was answered, the choices in order."""

    choices: tuple[Choice, ...]
    started: Started
    usage: Usage
    timings: Timings
    prompt_logprobs: tuple[events_pb2.PromptTokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        """The thinking of the first choice."""
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the first choice asks for."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first choice ended."""
        return self.choices[0].finish_reason

    @property
    def message(self) -> chat_pb2.Message:
        """The first choice as a message, for the history of the conversation."""
        calls = [
            chat_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments)
            for call in self.tool_calls
        ]
        return assistant(self.text, calls)


@dataclass(slots=True)
class _OpenChoice:
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: dict[int, ToolCall] = field(default_factory=dict[int, ToolCall])
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[events_pb2.TokenLogprob] = field(default_factory=list[events_pb2.TokenLogprob])
    end: ChoiceFinished = field(default_factory=lambda: ChoiceFinished(FinishReason.UNKNOWN))

    def add_call(self, delta: ToolCallDelta) -> None:
        before = self.calls.get(delta.index, ToolCall("", "", ""))
        self.calls[delta.index] = ToolCall(
            before.id or delta.id, before.name or delta.name, before.arguments + delta.arguments
        )

    def close(self) -> Choice:
        return Choice(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            tool_calls=tuple(self.calls[index] for index in sorted(self.calls)),
            finish_reason=self.end.reason,
            matched=self.end.matched,
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
        )


class AnswerBuilder:
    """Puts the events of one stream together.

    for event in stream:
        builder.add(event)
    answer = builder.build()  # None without the last event
    """

    def __init__(self) -> None:
        self._choices: dict[int, _OpenChoice] = {}
        self._started = Started("", "", 0, 0)
        self._finished: Finished | None = None
        self._prompt_logprobs: list[events_pb2.PromptTokenLogprob] = []

    def add(self, event: Event) -> None:
        """Takes the next event."""
        match event:
            case TextDelta():
                choice = self._choice(event.choice)
                choice.text.append(event.text)
                choice.token_ids += event.token_ids
                choice.logprobs += event.logprobs
            case ReasoningDelta():
                choice = self._choice(event.choice)
                choice.reasoning.append(event.text)
                choice.token_ids += event.token_ids
            case ToolCallDelta():
                self._choice(event.choice).add_call(event)
            case ChoiceFinished():
                self._choice(event.choice).end = event
            case Started():
                self._started = event
            case PromptLogprobs():
                self._prompt_logprobs += event.tokens
            case Finished():
                self._finished = event
            case Progress() | ToolResult():
                pass

    def build(self) -> Answer | None:
        """Returns the answer once it is whole."""
        return None if self._finished is None else self.received()

    def received(self) -> Answer:
        """Returns what there is of it by now."""
        indices = sorted(self._choices) or [0]
        choices = tuple(self._choice(index).close() for index in indices)
        finished = self._finished or Finished(Usage(), Timings())
        return Answer(
            choices,
            self._started,
            finished.usage,
            finished.timings,
            tuple(self._prompt_logprobs),
        )

    def _choice(self, index: int) -> _OpenChoice:
        return self._choices.setdefault(index, _OpenChoice())
