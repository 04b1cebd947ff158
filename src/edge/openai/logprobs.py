"""Log-probabilities, in the two forms that OpenAI has for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...generated.tokenwire.v1 import events_pb2

# JSON has no -inf. This is what OpenAI's API says for a token of no probability.
_LEAST = -9999.0


def chat_logprobs(tokens: Iterable[events_pb2.TokenLogprob]) -> dict[str, Any]:
    """Returns the log-probabilities of a chat's answer, each with its likeliest tokens."""
    return {
        "content": [
            {**_entry(token), "top_logprobs": [_entry(top) for top in token.top]}
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(
    tokens: Iterable[events_pb2.TokenLogprob], text_offset: int
) -> tuple[dict[str, Any], int]:
    """Returns those of a completion, as four lists, and the offset of what follows them.

    The token itself is among the likeliest, as OpenAI has it: that may be one more than asked for.
    Offsets count characters from the beginning of the answer. Bytes that are no whole character
    count one.
    """
    texts: list[str] = []
    offsets: list[int] = []
    values: list[float] = []
    tops: list[dict[str, float]] = []
    for token in tokens:
        text, value = _text(token.text, "bytes:"), max(token.logprob, _LEAST)
        texts.append(text)
        offsets.append(text_offset)
        values.append(value)
        top = {_text(top.text, "bytes:"): max(top.logprob, _LEAST) for top in token.top}
        tops.append({text: value} | top)
        text_offset += len(token.text.decode("utf-8", "replace"))
    lists = {
        "tokens": texts,
        "token_logprobs": values,
        "top_logprobs": tops,
        "text_offset": offsets,
    }
    return lists, text_offset


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
