"""Thirty-two greedy requests of every kind, for the comparison of alone and together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2

_SYSTEM = "You are a helpful assistant who answers in one or two short sentences."
_QUESTIONS = (
    "What is the capital of France?",
    "Name three colours of the rainbow.",
    "Why is the sky blue?",
    "Who wrote Hamlet?",
    "How many legs has a spider?",
    "What is water made of?",
    "Give me a word that rhymes with cat.",
    "What do bees make?",
)
_BEGINNINGS = (
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "The three most important things in life are",
    "Dear Sir or Madam,\n\nI am writing to",
    "Ingredients: two eggs, a cup of flour,",
    "In 1969, the first humans",
    "Roses are red, violets are",
    "The quick brown fox",
)
_STOPS = ((".",), ("\n\n",), (",", ";"), (" the",))
_SENTENCE = "On day {day} the ship sailed {miles} miles and the cook made soup for the crew. "
# About 600 tokens that several requests begin with.
_LOG = "The log of a long voyage.\n" + "".join(
    _SENTENCE.format(day=day, miles=day * 7 % 40) for day in range(1, 30)
)
_ENDS = ("In short,", "The next day", "What the cook said:", "On day 30")


@dataclass(frozen=True, slots=True)
class MixedRequest:
    """One request. Exactly one of `text`, `messages` and `token_ids` is the prompt."""

    max_tokens: int
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False

    def to_proto(self, model: str, salt: str, *, return_token_ids: bool) -> Any:
        """Makes the message that asks for it."""
        request: Any
        if self.messages:
            request = inference_pb2.ChatRequest(model=model)
            for role, content in self.messages:
                request.messages.append(
                    chat_pb2.Message(
                        role=chat_pb2.Role.Value(f"ROLE_{role.upper()}"),
                        content=[chat_pb2.ContentPart(text=content)],
                    )
                )
        else:
            request = inference_pb2.GenerateRequest(model=model)
            if self.text:
                request.text = self.text
            else:
                request.token_ids.ids.extend(self.token_ids)
        request.sampling.temperature = 0
        request.sampling.max_tokens = self.max_tokens
        request.sampling.stop.extend(self.stop)
        request.sampling.ignore_eos = self.ignore_eos
        request.cache_salt = salt
        request.return_token_ids = return_token_ids
        return request


def mixed_requests() -> list[MixedRequest]:
    """Makes the thirty-two: short and long, chats, ids, stop strings, shared beginnings."""
    chats = [
        MixedRequest(24 + 4 * number, messages=(("system", _SYSTEM), ("user", question)))
        for number, question in enumerate(_QUESTIONS)
    ]
    plain = [
        MixedRequest(16 + 6 * number, text=text, ignore_eos=number % 2 == 0)
        for number, text in enumerate(_BEGINNINGS)
    ]
    stopped = [
        MixedRequest(48, text=text, stop=stop)
        for text, stop in zip(_BEGINNINGS[:4], _STOPS, strict=True)
    ]
    long = [MixedRequest(20, text=_LOG + end, ignore_eos=True) for end in _ENDS]
    follow_ups = [
        MixedRequest(
            32,
            messages=(
                ("system", _SYSTEM),
                ("user", _QUESTIONS[0]),
                ("assistant", "The capital of France is Paris."),
                ("user", question),
            ),
        )
        for question in ("And of Spain?", "Is it large?", "What river runs there?", "Thank you.")
    ]
    ids = [
        MixedRequest(32, token_ids=tuple(range(start, start + 40 * step, step)), ignore_eos=True)
        for start, step in ((1000, 7), (1000, 11), (20_000, 13), (5000, 100))
    ]
    # In the order of a busy server: no kind comes in one piece.
    kinds = (chats, plain, stopped, long, follow_ups, ids)
    return [kind[place] for place in range(8) for kind in kinds if place < len(kind)]
