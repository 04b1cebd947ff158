"""Writes the tiny checkpoints again, as GGUF files with 32-bit weights.

Run with `-m`, a GGUF file that lends its tokenizer, the folder that holds the checkpoints and the
names of the architectures. Names of tensors and keys are those of the package `gguf`, which is
llama.cpp's own; what a conversion changes beside the names is what llama.cpp's
`convert_hf_to_gguf.py` does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# `expert_gating_func`: 1 is softmax, 2 is sigmoid.
_EXPERTS: dict[str, Any] = {
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 32,
    "expert_weights_scale": 1.0,
    "expert_weights_norm": True,
    "leading_dense_block_count": 1,
}
_YARN: dict[str, Any] = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 40.0,
    "rope.scaling.original_context_length": 4096,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
    # llama.cpp's converter writes a tenth of `mscale_all_dim` for DeepSeek.
    "rope.scaling.yarn_log_multiplier": 0.1,
}
_EXPERT = re.compile(r"(model\.layers\.\d+\..*experts)\.(\d+)\.(w[123]|\w+_proj)\.weight")


@dataclass(frozen=True, slots=True)
class GgufArchitecture:
    """How an architecture is called in GGUF files, and what its conversion changes.

    `is_permuted`: queries and keys are reordered for interleaved rotary embedding. `adds_one`:
    norms hold their weight plus one. `keys` are further keys, without the architecture's prefix.
    """

    name: str
    gguf: str
    is_permuted: bool = False
    adds_one: bool = False
    keys: Mapping[str, Any] = field(default_factory=dict[str, Any])


GGUF_ARCHITECTURES = (
    GgufArchitecture("llama", "llama", is_permuted=True),
    GgufArchitecture("mistral", "llama", is_permuted=True),
    GgufArchitecture(
        "mixtral", "llama", is_permuted=True, keys={"expert_count": 4, "expert_used_count": 2}
    ),
    GgufArchitecture("qwen2", "qwen2"),
    GgufArchitecture("qwen3", "qwen3"),
    GgufArchitecture("gemma", "gemma", adds_one=True),
    GgufArchitecture(
        "gemma2",
        "gemma2",
        adds_one=True,
        keys={
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "attention.sliding_window": 1024,
        },
    ),
    GgufArchitecture(
        "gemma2-capped",
        "gemma2",
        adds_one=True,
        keys={
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 30.0,
            "attention.sliding_window": 1024,
        },
    ),
    GgufArchitecture("phi", "phi2"),
    GgufArchitecture("phi3", "phi3", keys={"attention.sliding_window": 1024}),
    GgufArchitecture("glm4", "glm4"),
    GgufArchitecture("glm4-moe", "glm4moe", keys=_EXPERTS | {"expert_gating_func": 2}),
    GgufArchitecture(
        "glm4-moe-lite",
        "deepseek2",
        keys=_EXPERTS | {"expert_gating_func": 2, "expert_weights_scale": 1.8},
    ),
    GgufArchitecture(
        "deepseek-v2",
        "deepseek2",
        keys=_EXPERTS | _YARN | {"expert_gating_func": 1, "expert_weights_norm": False},
    ),
    GgufArchitecture(
        "deepseek-v3",
        "deepseek2",
        keys=_EXPERTS | _YARN | {"expert_gating_func": 2, "expert_weights_scale": 2.5},
    ),
    GgufArchitecture("smollm3", "smollm3", is_permuted=True),
    GgufArchitecture(
        "granite",
        "granite",
        is_permuted=True,
        keys={
            "embedding_scale": 12.0,
            "residual_scale": 0.22,
            "attention.scale": 0.2,
            "logit_scale": 2.0,
        },
    ),
    GgufArchitecture(
        "ministral3",
        "mistral3",
        is_permuted=True,
        keys={
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 16.0,
            "rope.scaling.original_context_length": 16_384,
            "rope.scaling.yarn_beta_fast": 32.0,
            "rope.scaling.yarn_beta_slow": 1.0,
            "rope.scaling.yarn_log_multiplier": 1.0,
            "attention.temperature_scale": 0.1,
        },
    ),
    GgufArchitecture("stablelm", "stablelm", keys={"use_parallel_residual": False}),
)


def write(tokenizer_file: Path, checkpoint: Path, architecture: GgufArchitecture) -> Path:
    """Writes `model.gguf` beside the checkpoint's own weights."""
    import gguf
    from safetensors.numpy import load_file

    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    path = checkpoint / "model.gguf"
    writer = gguf.GGUFWriter(path, architecture.gguf)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for key, value in (_shape_keys(config) | dict(architecture.keys)).items():
        _add(writer, f"{architecture.gguf}.{key}", value)
    _copy_tokenizer(gguf.GGUFReader(tokenizer_file), writer)
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.gguf)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    tensors = _with_split_latents(load_file(checkpoint / "model.safetensors"), config)
    for name, tensor in _merged(tensors).items():
        # As if it were a bias, which it is by what it does.
        dotted = name.replace("e_score_correction_bias", "e_score_correction.bias")
        new_name = names.get_name(dotted, (".weight", ".bias"))
        assert new_name is not None, f"{architecture.gguf} has no place for {name}"
        writer.add_tensor(new_name, _converted(name, tensor, config, architecture))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shape_keys(config: dict[str, Any]) -> dict[str, Any]:
    head_size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    part = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    epsilon = config.get("rms_norm_eps")
    norm = (
        {"attention.layer_norm_rms_epsilon": epsilon}
        if epsilon
        else {"attention.layer_norm_epsilon": config.get("layer_norm_eps")}
    )
    shape = norm | {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "rope.dimension_count": int(head_size * part),
        "rope.freq_base": float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        "vocab_size": config["vocab_size"],
    }
    return shape | (_latent_keys(config) if "kv_lora_rank" in config else {})


def _latent_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Multi-head latent attention, as one KV head of the latent vector."""
    rank, rope_size = config["kv_lora_rank"], config["qk_rope_head_dim"]
    return {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": config["q_lora_rank"],
        "attention.kv_lora_rank": rank,
        "attention.key_length": rank + rope_size,
        "attention.value_length": rank,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rope_size,
        "attention.value_length_mla": config["v_head_dim"],
        "rope.dimension_count": rope_size,
    }


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_float32(key, value)


def _copy_tokenizer(reader: Any, writer: Any) -> None:
    for key, value in reader.fields.items():
        if key.startswith("tokenizer."):
            sub_type = value.types[1] if len(value.types) > 1 else None
            writer.add_key_value(key, value.contents(), value.types[0], sub_type=sub_type)


def _with_split_latents(tensors: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Splits the matrix that unfolds latent vectors into that of keys and that of values."""
    split: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if ".kv_b_proj." not in name:
            split[name] = tensor
            continue
        heads = tensor.reshape(config["num_attention_heads"], -1, config["kv_lora_rank"])
        keys, values = (
            heads[:, : config["qk_nope_head_dim"]],
            heads[:, config["qk_nope_head_dim"] :],
        )
        split[name.replace("kv_b", "k_b")] = keys.swapaxes(1, 2)
        split[name.replace("kv_b", "v_b")] = values
    return split


def _merged(tensors: dict[str, Any]) -> dict[str, Any]:
    """Stacks the experts of a layer, which GGUF keeps in one tensor."""
    import numpy as np

    merged: dict[str, Any] = {}
    experts: dict[str, dict[int, Any]] = {}
    for name, tensor in tensors.items():
        if match := _EXPERT.fullmatch(name):
            experts.setdefault(f"{match[1]}.{match[3]}.weight", {})[int(match[2])] = tensor
        else:
            merged[name] = tensor
    return merged | {
        name: np.stack([parts[index] for index in sorted(parts)]) for name, parts in experts.items()
    }


def _converted(
    name: str, tensor: Any, config: dict[str, Any], architecture: GgufArchitecture
) -> Any:
    if architecture.adds_one and name.endswith("norm.weight"):
        return tensor + 1
    if architecture.is_permuted and ".q_proj." in name:
        return _permuted(tensor, config["num_attention_heads"])
    if architecture.is_permuted and ".k_proj." in name:
        return _permuted(tensor, config["num_key_value_heads"])
    return tensor


def _permuted(tensor: Any, num_heads: int) -> Any:
    half = tensor.shape[0] // num_heads // 2
    split = tensor.reshape(num_heads, 2, half, *tensor.shape[1:])
    return split.swapaxes(1, 2).reshape(tensor.shape)


def main(tokenizer_file: Path, root: Path, names: list[str]) -> None:
    """Writes the files of the architectures named."""
    for architecture in GGUF_ARCHITECTURES:
        if architecture.name in names:
            write(tokenizer_file, root / "tiny" / architecture.name, architecture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
