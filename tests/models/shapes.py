"""Shapes that the tiny checkpoints share: as small as each kind of model can be."""

from __future__ import annotations

from typing import Any

VOCAB_SIZE = 49_152
"""That of SmolLM2's tokenizer, which every checkpoint gets."""

COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
GEMMA_2: dict[str, Any] = {
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "num_hidden_layers": 4,
    "hidden_act": "gelu_pytorch_tanh",
    "sliding_window": 1024,
    "tie_word_embeddings": True,
}
LATENT_ATTENTION: dict[str, Any] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
}
# As DeepSeek publishes it; SGLang's rotary embedding for CPUs knows no other here.
YARN: dict[str, Any] = {
    "max_position_embeddings": 163_840,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 40.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    },
}
EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}
GROUPS: dict[str, Any] = {"n_group": 1, "topk_group": 1}
