"""The model ids that the service is documented to run, with the architecture of each.

The architectures are those of the published `config.json` files (`architectures`) and of the
published GGUF files (`general.architecture`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DocumentedModel:
    """A model id, and what its files say they hold.

    `architecture` is the name for SGLang; `gguf` that for llama.cpp, empty where the id names no
    GGUF file. `sglang_obstacle` is empty, or says why SGLang 0.5.23 does not run it as it is.
    """

    model_id: str
    architecture: str
    gguf: str = ""
    sglang_obstacle: str = ""

    @property
    def gpu_engine(self) -> str:
        """SGLang, but for GGUF files that it cannot load."""
        is_dense = self.architecture != "MixtralForCausalLM"
        is_loaded = not self.gguf or (self.gguf in ("llama", "qwen2") and is_dense)
        return "sglang" if is_loaded else "llamacpp"


_CHATGLM_CODE = (
    "its tokenizer is code of its own: `LLM_SGLANG_ARGS=--trust-remote-code` allows it, or take "
    "`zai-org/GLM-4-9B-0414`, which needs none"
)
_NO_PHI3V = "SGLang 0.5.23 has no such model class, and transformers has none without remote code"

GGUF_MODELS = (
    DocumentedModel(
        "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "LlamaForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "bartowski/Meta-Llama-3.1-70B-Instruct-GGUF:Meta-Llama-3.1-70B-Instruct-Q4_K_M.gguf",
        "LlamaForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "bartowski/Llama-3.2-3B-Instruct-GGUF:Llama-3.2-3B-Instruct-Q4_K_M.gguf",
        "LlamaForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "bartowski/Mistral-7B-Instruct-v0.3-GGUF:Mistral-7B-Instruct-v0.3-Q4_K_M.gguf",
        "MistralForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "bartowski/Mixtral-8x7B-Instruct-v0.1-GGUF:Mixtral-8x7B-Instruct-v0.1-Q4_K_M.gguf",
        "MixtralForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "Qwen/Qwen2.5-7B-Instruct-GGUF:qwen2.5-7b-instruct-q4_k_m.gguf",
        "Qwen2ForCausalLM",
        "qwen2",
    ),
    DocumentedModel(
        "Qwen/Qwen2.5-32B-Instruct-GGUF:qwen2.5-32b-instruct-q4_k_m.gguf",
        "Qwen2ForCausalLM",
        "qwen2",
    ),
    DocumentedModel(
        "Qwen/Qwen2.5-72B-Instruct-GGUF:qwen2.5-72b-instruct-q4_k_m.gguf",
        "Qwen2ForCausalLM",
        "qwen2",
    ),
    DocumentedModel(
        "microsoft/Phi-3-mini-4k-instruct-gguf:Phi-3-mini-4k-instruct-q4.gguf",
        "Phi3ForCausalLM",
        "phi3",
    ),
    DocumentedModel(
        "bartowski/Phi-3.5-mini-instruct-GGUF:Phi-3.5-mini-instruct-Q4_K_M.gguf",
        "Phi3ForCausalLM",
        "phi3",
    ),
    DocumentedModel("bartowski/phi-4-GGUF:phi-4-Q4_K_M.gguf", "Phi3ForCausalLM", "phi3"),
    DocumentedModel(
        "bartowski/gemma-2-9b-it-GGUF:gemma-2-9b-it-Q4_K_M.gguf", "Gemma2ForCausalLM", "gemma2"
    ),
    DocumentedModel(
        "bartowski/gemma-2-27b-it-GGUF:gemma-2-27b-it-Q4_K_M.gguf", "Gemma2ForCausalLM", "gemma2"
    ),
    DocumentedModel(
        "bartowski/glm-4-9b-chat-GGUF:glm-4-9b-chat-Q4_K_M.gguf", "ChatGLMModel", "chatglm"
    ),
    DocumentedModel(
        "bartowski/DeepSeek-V2.5-GGUF:DeepSeek-V2.5-Q4_K_M.gguf",
        "DeepseekV2ForCausalLM",
        "deepseek2",
    ),
    DocumentedModel(
        "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf",
        "Qwen2ForCausalLM",
        "qwen2",
    ),
    DocumentedModel(
        "bartowski/SmolLM2-1.7B-Instruct-GGUF:SmolLM2-1.7B-Instruct-Q4_K_M.gguf",
        "LlamaForCausalLM",
        "llama",
    ),
    DocumentedModel(
        "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf",
        "LlamaForCausalLM",
        "llama",
    ),
)
STANDARD_MODELS = (
    DocumentedModel("meta-llama/Meta-Llama-3.1-8B-Instruct", "LlamaForCausalLM"),
    DocumentedModel("meta-llama/Meta-Llama-3.1-70B-Instruct", "LlamaForCausalLM"),
    DocumentedModel("mistralai/Mistral-7B-Instruct-v0.3", "MistralForCausalLM"),
    DocumentedModel("mistralai/Mixtral-8x7B-Instruct-v0.1", "MixtralForCausalLM"),
    DocumentedModel("Qwen/Qwen2.5-7B-Instruct", "Qwen2ForCausalLM"),
    DocumentedModel("Qwen/Qwen2.5-72B-Instruct", "Qwen2ForCausalLM"),
    DocumentedModel("microsoft/Phi-3-mini-4k-instruct", "Phi3ForCausalLM"),
    DocumentedModel("microsoft/Phi-3.5-mini-instruct", "Phi3ForCausalLM"),
    DocumentedModel("microsoft/phi-4", "Phi3ForCausalLM"),
    DocumentedModel("google/gemma-2-9b-it", "Gemma2ForCausalLM"),
    DocumentedModel("google/gemma-2-27b-it", "Gemma2ForCausalLM"),
    DocumentedModel("THUDM/glm-4-9b-chat", "ChatGLMModel", sglang_obstacle=_CHATGLM_CODE),
    DocumentedModel("deepseek-ai/DeepSeek-V2.5", "DeepseekV2ForCausalLM"),
    DocumentedModel("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen2ForCausalLM"),
    DocumentedModel("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "LlamaForCausalLM"),
    DocumentedModel("HuggingFaceTB/SmolLM2-135M-Instruct", "LlamaForCausalLM"),
)
VISION_MODELS = (
    DocumentedModel("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2_5_VLForConditionalGeneration"),
    DocumentedModel("google/gemma-3n-E4B-it", "Gemma3nForConditionalGeneration"),
    DocumentedModel("llava-hf/llava-v1.6-mistral-7b-hf", "LlavaNextForConditionalGeneration"),
    DocumentedModel(
        "microsoft/Phi-3.5-vision-instruct", "Phi3VForCausalLM", sglang_obstacle=_NO_PHI3V
    ),
)
