"""What the keys of a GGUF file tell about the model in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .gguf_file import GgufFile, MalformedGguf, Value, read_gguf_file

# llama_ftype of llama.h, by the names that people know from file names.
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The keys of a GGUF file that decide how it is served.

    `kv_bytes_per_token` is the size of one token's keys and values over all layers, in float16;
    0 for models that keep no such cache. `trained_context_length` is 0 where the file is silent.
    `max_token_bytes` is an upper bound of what one token can stand for, 0 where it is not known.
    `fim_token_ids` are those before prefix, suffix and middle of an infill, where all are told.
    """

    architecture: str
    quantization: str
    trained_context_length: int
    kv_bytes_per_token: int
    begin_token_id: int | None
    has_chat_template: bool
    fim_token_ids: tuple[int, int, int] | None = None
    max_token_bytes: int = 0


def read_gguf_header(path: Path) -> GgufHeader:
    """Reads the header. Blocks for up to 0.2 s with large vocabularies.

    Raises:
        MalformedGguf: missing, not GGUF, truncated or nonsensical.
    """
    return describe_file(read_gguf_file(path), path.name)


def describe_file(file: GgufFile, name: str) -> GgufHeader:
    """Picks what decides how a file is served; `name` is the file's, for the error.

    Raises:
        MalformedGguf: no architecture is named.
    """
    keys = file.keys
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str):
        raise MalformedGguf(f"'{name}' names no architecture: it is not a language model")
    begin = keys.get("tokenizer.ggml.bos_token_id")
    file_type = keys.get("general.file_type")
    return GgufHeader(
        architecture=architecture,
        quantization=_FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        trained_context_length=_first(keys.get(f"{architecture}.context_length")),
        kv_bytes_per_token=_kv_bytes_per_token(keys, architecture),
        begin_token_id=begin if isinstance(begin, int) else None,
        has_chat_template=isinstance(keys.get("tokenizer.chat_template"), str),
        fim_token_ids=_fim_token_ids(keys),
        # Longer than the text of a token where bytes or spaces are spelled by other characters.
        max_token_bytes=file.longest_strings.get("tokenizer.ggml.tokens", 0),
    )


def _fim_token_ids(keys: Mapping[str, Value]) -> tuple[int, int, int] | None:
    prefix, suffix, middle = (
        # The names of older files stand behind: llama.cpp reads both (llama-arch.cpp).
        keys.get(f"tokenizer.ggml.fim_{new}_token_id", keys.get(f"tokenizer.ggml.{old}_token_id"))
        for new, old in (("pre", "prefix"), ("suf", "suffix"), ("mid", "middle"))
    )
    if isinstance(prefix, int) and isinstance(suffix, int) and isinstance(middle, int):
        return prefix, suffix, middle
    return None


def _kv_bytes_per_token(keys: Mapping[str, Value], architecture: str) -> int:
    num_layers = _first(keys.get(f"{architecture}.block_count"))
    num_heads = _first(keys.get(f"{architecture}.attention.head_count"))
    kv_heads = keys.get(f"{architecture}.attention.head_count_kv")
    embedding_length = _first(keys.get(f"{architecture}.embedding_length"))
    head_dim = embedding_length // num_heads if num_heads else 0
    key_length = _first(keys.get(f"{architecture}.attention.key_length")) or head_dim
    value_length = _first(keys.get(f"{architecture}.attention.value_length")) or head_dim
    if isinstance(kv_heads, list):
        # One number a layer, 0 where a layer has no attention.
        num_kv_heads = sum(heads for heads in kv_heads if isinstance(heads, int))
    else:
        num_kv_heads = num_layers * (_first(kv_heads) or num_heads)
    return num_kv_heads * (key_length + value_length) * 2


def _first(value: Value) -> int:
    # Some architectures give a number a layer where others give one for all.
    if isinstance(value, list):
        value = max((element for element in value if isinstance(element, int)), default=0)
    return value if isinstance(value, int) else 0
