"""How tokens are chosen, from OpenAI's JSON and from what other servers added to it."""

from __future__ import annotations

import re
from typing import cast

from ...generated.tokenwire.v1 import sampling_pb2
from ..body import json_type, shown
from ..errors import invalid
from ..fields import Fields, to_float32, without_point
from .known_fields import INTEGERS, NUMBERS

_UINT32 = 2**32
_TOKEN_ID = re.compile(r"[0-9]{1,9}")
# From here on orjson reads integers as floats, which have lost their last digits.
_BEYOND_64_BITS = 2.0**63


def decode_sampling(fields: Fields, given: dict[str, str]) -> sampling_pb2.Sampling:
    """Reads all but log-probabilities. Values out of range are the front's to refuse.

    Puts into `given` the caller's name of what has several.

    Raises:
        EdgeError: a field is of the wrong type.
    """
    sampling = sampling_pb2.Sampling(
        stop=fields.optional_strings("stop"),
        stop_token_ids=_optional_ids(fields, "stop_token_ids"),
        ignore_eos=fields.optional_boolean("ignore_eos") or False,
    )
    for name in NUMBERS:
        number = fields.optional_number(name)
        if number is not None:
            setattr(sampling, name, number)
    for name in INTEGERS:
        integer = fields.optional_integer(name)
        if integer is not None:
            setattr(sampling, name, integer)
    top_k = fields.optional_integer("top_k")
    if top_k is not None and top_k != -1:  # off, as vLLM and SGLang write it
        sampling.top_k = top_k
    for name in ("max_tokens", "max_completion_tokens"):  # the newer name counts
        limit = fields.optional_integer(name)
        if limit is not None:
            sampling.max_tokens = limit
            given["sampling.max_tokens"] = name
    _decode_seed(fields, sampling)
    for token, bias in fields.optional_object("logit_bias").items():
        path = fields.path_of(f"logit_bias[{token[:100]}]")
        if not _TOKEN_ID.fullmatch(token):
            raise invalid(path, "must be the id of a token")
        sampling.logit_bias[int(token)] = to_float32(bias, path)
    return sampling


def decode_ids(value: object, path: str) -> list[int]:
    """Reads an array of token ids.

    Raises:
        EdgeError: it is not one; names the item.
    """
    if not isinstance(value, list):
        raise invalid(path, f"must be an array of token ids, got {json_type(value)}")
    ids: list[int] = []
    for index, item in enumerate(cast("list[object]", value)):
        token_id = without_point(item)
        if type(token_id) is not int or not 0 <= token_id < _UINT32:
            raise invalid(f"{path}[{index}]", f"must be the id of a token, got {shown(item)}")
        ids.append(token_id)
    return ids


def _optional_ids(fields: Fields, name: str) -> list[int]:
    value = fields.get(name)
    return [] if value is None else decode_ids(value, fields.path_of(name))


def _decode_seed(fields: Fields, sampling: sampling_pb2.Sampling) -> None:
    seed = fields.get("seed")
    if seed is None:
        return
    if isinstance(seed, float) and abs(seed) < _BEYOND_64_BITS:
        seed = without_point(seed)
    if type(seed) is not int:
        raise invalid("seed", f"must be an integer of at most 64 bits, got {shown(seed)}")
    # OpenAI's have 64 bits and a sign, ours 32: the same seed stays the same one.
    sampling.seed = seed % _UINT32
