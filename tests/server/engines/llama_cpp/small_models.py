"""Tiny models with random weights, each with one of the small tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Comes with SGLang, which reads such files with it.
import gguf
import numpy as np

from ..small_tokenizers import BYTES, SmallTokenizer

_WIDTH = 32
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
KINDS = {
    "byte-level": "gpt2",
    "ignore-merges": "gpt2",
    "thinking": "gpt2",
    "prepended": "llama",
    "gemma": "llama",
    "stripping": "llama",
    "unigram-bytes": "t5",
    "unigram-unknown": "t5",
}
"""The kind of vocabulary that llama.cpp has for each; it has none for the others."""
BEGIN = "<bos>"


def write_model(small: SmallTokenizer, path: Path) -> Path:
    """Writes a model of one layer with the vocabulary of a tokenizer."""
    content = json.loads(small.tokenizer.to_str())
    size = small.tokenizer.get_vocab_size(with_added_tokens=True)
    writer: Any = gguf.GGUFWriter(path, "llama")
    for key, value in {
        "block_count": 1,
        "context_length": 512,
        "embedding_length": _WIDTH,
        "feed_forward_length": _WIDTH,
        "attention.head_count": 2,
        "rope.dimension_count": _WIDTH // 2,
        "vocab_size": size,
    }.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    _add_vocabulary(writer, small, content, size)
    random = np.random.default_rng(0)
    square = (_WIDTH, _WIDTH)
    shapes = {"token_embd": (size, _WIDTH), "output_norm": (_WIDTH,)} | {
        f"blk.0.{name}": square if "norm" not in name else (_WIDTH,)
        for name in (
            *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
            *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
        )
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: Any, small: SmallTokenizer, content: dict[str, Any], size: int) -> None:
    kind = KINDS[small.name]
    tokens = [small.tokenizer.id_to_token(token_id) for token_id in range(size)]
    added = {token["content"]: token["special"] for token in content["added_tokens"]}

    def type_of(token: str) -> int:
        if token == "<unk>":
            return _UNKNOWN
        if token in added:
            return _CONTROL if added[token] else _USER_DEFINED
        return _BYTE if token in BYTES else 1

    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    writer.add_token_types([type_of(token) for token in tokens])
    writer.add_chat_template(small.template)
    writer.add_eos_token_id(small.special[small.close_turn])
    if small.unknown:
        writer.add_unk_token_id(small.unknown[0])
    if BEGIN in small.special:  # which the tokenizer puts before each prompt, as Gemma's does
        writer.add_bos_token_id(small.special[BEGIN])
    writer.add_add_bos_token(BEGIN in small.special)
    writer.add_add_eos_token(False)
    model = content["model"]
    if kind == "gpt2":
        writer.add_tokenizer_pre("llama-bpe" if small.name == "ignore-merges" else "gpt-2")
        writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
        return
    if kind == "t5":
        scores = dict(model["vocab"])
    else:
        order = {"".join(merge): -float(at) for at, merge in enumerate(model["merges"])}
        scores = {token: order.get(token, -1e4) for token in tokens}
    writer.add_token_scores([scores.get(token, 0.0) for token in tokens])
    writer.add_add_space_prefix(kind == "t5" or "Prepend" in json.dumps(content["normalizer"]))
