"""Log-probabilities, in the two forms that OpenAI has for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...generated.tokenwire.v1 import events_pb2

# JSON has no -inf. This is what OpenAI's API says for a token of no probability.
_LEAST = -9999.0
_END_TOKENS = (events_pb2.FINISH_REASON_EOS, events_pb2.FINISH_REASON_TOOL_CALLS)

Lists = dict[str, list[Any]]
"""`tokens`, `token_logprobs`, `top_logprobs` and `text_offset`, an item for each token."""


def chat_logprobs(tokens: Iterable[events_pb2.TokenLogprob]) -> dict[str, Any]:
    """Returns the log-probabilities of a chat's answer, each with its likeliest tokens."""
    return {
        "content": [
            {**_entry(token), "top_logprobs": [_entry(top) for top in token.top]}
            for token in tokens
        ],
        "refusal": None,
    }


def completion_lists(
    tokens: Iterable[events_pb2.TokenLogprob], text_offset: int
) -> tuple[Lists, int]:
    """Returns those of a completion, as four lists, and the offset of what follows them.

    The token itself is among the likeliest, as OpenAI has it: that may be one more than asked for.
    Offsets count characters from the beginning of the text. Bytes that are no whole character
    count one.
    """
    lists = _no_lists()
    for token in tokens:
        _append(lists, token, max(token.logprob, _LEAST), text_offset)
        text_offset += _num_characters(token.text)
    return lists, text_offset


def prompt_lists(tokens: Sequence[events_pb2.PromptTokenLogprob], echo: str) -> Lists:
    """Returns those of a prompt in the same lists, for an answer that begins with it as `echo`.

    A token without a log-probability has null. What the tokenizer puts before the text, as its
    begin token, stands at 0 as the text does.
    """
    lists = _no_lists()
    place = len(echo) - sum(_num_characters(token.text) for token in tokens)
    for token in tokens:
        value = max(token.logprob, _LEAST) if token.HasField("logprob") else None
        _append(lists, token, value, max(place, 0))
        place += _num_characters(token.text)
    return lists


def end_lists(finished: events_pb2.ChoiceFinished, text_offset: int) -> Lists:
    """Returns those of the token that ended an answer, without a value; empty where none did.

    For answers that begin with their prompt: whoever scores it asks for one token, and leaves out
    the last one of the lists, whatever that is.
    """
    lists = _no_lists()
    if finished.finish_reason in _END_TOKENS or finished.HasField("stop_token_id"):
        _append(lists, events_pb2.PromptTokenLogprob(), None, text_offset)
    return lists


def join_lists(*parts: Lists) -> Lists:
    """Puts lists one behind the other."""
    return {name: [item for part in parts for item in part[name]] for name in parts[0]}


def _no_lists() -> Lists:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def _append(
    lists: Lists,
    token: events_pb2.TokenLogprob | events_pb2.PromptTokenLogprob,
    value: float | None,
    text_offset: int,
) -> None:
    text = _text(token.text, "bytes:")
    top = {_text(top.text, "bytes:"): max(top.logprob, _LEAST) for top in token.top}
    lists["tokens"].append(text)
    lists["token_logprobs"].append(value)
    lists["top_logprobs"].append(None if value is None else {text: value} | top)
    lists["text_offset"].append(text_offset)


def _num_characters(data: bytes) -> int:
    return len(data.decode("utf-8", "replace"))


def _entry(token: events_pb2.TokenLogprob | events_pb2.TokenLogprob.TopLogprob) -> dict[str, Any]:
    return {
        "token": _text(token.text, ""),
        "logprob": max(token.logprob, _LEAST),
        "bytes": list(token.text),
    }


def _text(data: bytes, prefix: str) -> str:
    """Writes a token's text; where it is no whole character, its bytes as OpenAI writes them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return prefix + "".join(chr(byte) if byte < 0x80 else f"\\x{byte:02x}" for byte in data)
