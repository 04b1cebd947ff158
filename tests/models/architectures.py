"""The architectures that are tried with tiny random weights, and what each one needs to be so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .shapes import COMMON, EXPERTS, GEMMA_2, GROUPS, LATENT_ATTENTION, VOCAB_SIZE, YARN

_NO_LATENT_ATTENTION = (
    "not run: SGLang's attention for CPUs without AMX does not compute latent attention, and the "
    "engine dies at its first request"
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture as transformers names it, in a shape of a few MB.

    `name` is the last part of the checkpoint's id. `config` is the class of its configuration in
    transformers, `values` what differs from the common shape; None takes a value away. `gguf` is
    its name for llama.cpp. `cpu_obstacle` is empty, or says why it is not tried on SGLang.
    `zeroed` are parameters left at zero, because SGLang leaves them out. `seed` draws the weights.
    """

    name: str
    family: str
    architecture: str
    config: str
    gguf: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cpu_obstacle: str = ""
    zeroed: tuple[str, ...] = ()
    seed: int = 0

    @property
    def model_id(self) -> str:
        """The id that the service is asked for."""
        return f"tiny/{self.name}"

    @property
    def config_values(self) -> dict[str, Any]:
        """Keyword arguments of the configuration."""
        return {
            key: value for key, value in (COMMON | dict(self.values)).items() if value is not None
        }


ARCHITECTURES = (
    Architecture(
        "llama",
        "Llama 2 and 3, Code Llama, TinyLlama, SmolLM 1 and 2",
        "LlamaForCausalLM",
        "LlamaConfig",
        "llama",
    ),
    Architecture(
        "mistral",
        "Mistral 7B",
        "MistralForCausalLM",
        "MistralConfig",
        "llama",
        {"head_dim": 16, "sliding_window": None},
    ),
    Architecture(
        "qwen2",
        "Qwen 2 and 2.5, DeepSeek-R1-Distill-Qwen",
        "Qwen2ForCausalLM",
        "Qwen2Config",
        "qwen2",
    ),
    Architecture("qwen3", "Qwen 3", "Qwen3ForCausalLM", "Qwen3Config", "qwen3", {"head_dim": 32}),
    Architecture(
        "gemma",
        "Gemma",
        "GemmaForCausalLM",
        "GemmaConfig",
        "gemma",
        {"head_dim": 16, "tie_word_embeddings": True},
    ),
    Architecture(
        "gemma2",
        "Gemma 2",
        "Gemma2ForCausalLM",
        "Gemma2Config",
        "gemma2",
        GEMMA_2,
    ),
    Architecture(
        "gemma2-capped",
        "Gemma 2 with scores that reach the cap",
        "Gemma2ForCausalLM",
        "Gemma2Config",
        "gemma2",
        GEMMA_2 | {"attn_logit_softcapping": 4.0},
        cpu_obstacle="not compared: SGLang's attention for CPUs leaves out the soft cap of the "
        "scores, so that answers differ where scores come near it (50 in Gemma 2)",
    ),
    Architecture(
        "gemma3n",
        "Gemma 3n, its text part",
        "Gemma3nForCausalLM",
        "Gemma3nTextConfig",
        "gemma3n",
        {
            "head_dim": 16,
            "num_hidden_layers": 6,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCAB_SIZE,
            "hidden_size_per_layer_input": 16,
            "laurel_rank": 8,
            "tie_word_embeddings": True,
            "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0, 0.0, 0.0],
            "layer_types": ["sliding_attention", "full_attention"] * 3,
            "sliding_window": 1024,
        },
        cpu_obstacle="not run: its set-up for CPUs takes `intermediate_size` for one number, and "
        "Gemma 3n has one for each layer",
    ),
    Architecture(
        "phi",
        "Phi-2",
        "PhiForCausalLM",
        "PhiConfig",
        "phi2",
        {"num_key_value_heads": 4, "partial_rotary_factor": 0.5, "intermediate_size": 256},
        cpu_obstacle="not compared: SGLang leaves out the bias of its output layer, so that "
        "answers differ: take a GGUF file",
    ),
    Architecture(
        "phi-no-bias",
        "Phi-2, were the bias of its output layer zero",
        "PhiForCausalLM",
        "PhiConfig",
        "phi2",
        {"num_key_value_heads": 4, "partial_rotary_factor": 0.5, "intermediate_size": 256},
        zeroed=("lm_head.bias",),
    ),
    Architecture(
        "phi3",
        "Phi-3, Phi-3.5 and Phi-4",
        "Phi3ForCausalLM",
        "Phi3Config",
        "phi3",
        {"original_max_position_embeddings": 2048, "sliding_window": 1024},
    ),
    Architecture("glm4", "GLM-4 0414", "Glm4ForCausalLM", "Glm4Config", "glm4", {"head_dim": 16}),
    Architecture(
        "glm4-moe",
        "GLM-4.5 and 4.6",
        "Glm4MoeForCausalLM",
        "Glm4MoeConfig",
        "glm4moe",
        {"head_dim": 16, "use_qk_norm": True} | EXPERTS | GROUPS,
    ),
    Architecture(
        "glm4-moe-lite",
        "GLM-4.7 Flash",
        "Glm4MoeLiteForCausalLM",
        "Glm4MoeLiteConfig",
        "deepseek2",
        LATENT_ATTENTION | EXPERTS | GROUPS,
        cpu_obstacle=_NO_LATENT_ATTENTION,
        # With seed 0 two experts of one token are 3e-5 apart, which float16 decides otherwise.
        seed=1,
    ),
    Architecture(
        "deepseek-v2",
        "DeepSeek V2 and V2.5",
        "DeepseekV2ForCausalLM",
        "DeepseekV2Config",
        "deepseek2",
        LATENT_ATTENTION
        | EXPERTS
        | GROUPS
        | YARN
        | {"moe_layer_freq": 1, "scoring_func": "softmax", "topk_method": "greedy"},
        cpu_obstacle=_NO_LATENT_ATTENTION,
        seed=1,  # with 0 some places are so near a tie that float16 decides them
    ),
    Architecture(
        "deepseek-v3",
        "DeepSeek V3 and R1",
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        "deepseek2",
        LATENT_ATTENTION
        | EXPERTS
        | GROUPS
        | YARN
        | {"moe_layer_freq": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc"},
        cpu_obstacle=_NO_LATENT_ATTENTION,
        seed=3,  # with 0 some places are so near a tie that float16 decides them
    ),
    Architecture(
        "smollm3",
        "SmolLM3",
        "SmolLM3ForCausalLM",
        "SmolLM3Config",
        "smollm3",
        {"num_hidden_layers": 4},
    ),
    Architecture(
        "granite",
        "Granite 3",
        "GraniteForCausalLM",
        "GraniteConfig",
        "granite",
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.2,
            "logits_scaling": 2.0,
        },
    ),
    Architecture(
        "granite-hybrid",
        "Granite 4 hybrid MoE",
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeHybridConfig",
        "granitehybrid",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 64,
            "layer_types": ["mamba", "attention", "mamba"],
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_d_state": 16,
            "mamba_n_groups": 1,
            "mamba_expand": 2,
            "mamba_chunk_size": 64,
            "position_embedding_type": "nope",
        },
        cpu_obstacle="not run: its Mamba layers need compiled kernels (`sgl_kernel.mamba`), and "
        "prefix caching snapshots of their state, which SGLang takes on a GPU only",
    ),
    Architecture(
        "stablelm",
        "StableLM and StableLM 2",
        "StableLmForCausalLM",
        "StableLmConfig",
        "stablelm",
        {"partial_rotary_factor": 0.25, "num_key_value_heads": 4},
    ),
    Architecture(
        "mixtral",
        "Mixtral 8x7B and 8x22B",
        "MixtralForCausalLM",
        "MixtralConfig",
        "llama",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
        seed=1,  # with 0 the best two tokens of one place are as good as equal
    ),
    Architecture(
        "ministral3",
        "Ministral 3, its text part",
        "Ministral3ForCausalLM",
        "Ministral3Config",
        "mistral3",
        {"head_dim": 16, "max_position_embeddings": 262_144},
        seed=1,  # with 0 the best two tokens of one place are as good as equal
    ),
)
