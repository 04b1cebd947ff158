"""Every variable that only SGLang reads, and what it is started with.

No pydantic here: SGLang is also started from the sources alone (`bench/gpu_checks.py`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ...contract.engine_settings import EngineSettings, option, options
from ...contract.model_id import ModelId

_MAX_PARALLEL: Final = 1024


def _parse_size(text: str) -> str | None:
    return None if text.strip().lower() == "auto" else text


def _parse_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text and not (host and port.isdigit()):
        raise ValueError("takes host:port")
    return text


def _parse_words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"is not split into words: {error}") from None


def _parse_file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return Path(text)


@dataclass(frozen=True, slots=True)
class SglangSettings(EngineSettings):
    """The configuration of one SGLang; arguments have its own names.

    None and empty: SGLang decides. `tp_size` is None until the model has its place, where it is
    auto. `speculative_draft_model_path` is the folder of the draft model.
    """

    tp_size: int | None = option(
        "LLM_TP_SIZE",
        parse=_parse_size,
        ge=1,
        le=_MAX_PARALLEL,
        default_text="auto",
        description="GPUs that share the layers of a model (tensor parallelism); auto: the fewest "
        "that hold it and divide its heads",
        takes=f"auto or a whole number from 1 to {_MAX_PARALLEL}",
    )
    pp_size: int = option(
        "LLM_PP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="Groups of GPUs that have the layers in turn (pipeline parallelism)",
    )
    dp_size: int = option(
        "LLM_DP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="Copies of a model that share the requests (data parallelism)",
    )
    ep_size: int = option(
        "LLM_EP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="GPUs that share the experts of a model (expert parallelism)",
    )
    nnodes: int = option(
        "LLM_NNODES", 1, ge=1, le=_MAX_PARALLEL, description="Machines that run one model together"
    )
    node_rank: int = option(
        "LLM_NODE_RANK",
        0,
        ge=0,
        le=_MAX_PARALLEL - 1,
        description="Which of these machines this is, from 0",
    )
    dist_init_addr: str = option(
        "LLM_DIST_INIT_ADDR",
        "",
        parse=_parse_address,
        description="Where the machines of one model meet: the address of machine 0",
        takes="host:port",
    )
    attention_backend: str = option(
        "LLM_ATTENTION_BACKEND",
        "",
        description="Attention kernels of SGLang; unset: its own choice for the GPU",
        takes="a name that SGLang knows, such as fa3, flashinfer or triton",
    )
    chunked_prefill_size: int | None = option(
        "LLM_CHUNKED_PREFILL_SIZE",
        ge=1,
        le=2**31 - 1,
        description="Most prompt tokens that one step takes; unset: 512 on a CPU, SGLang's own "
        "choice on a GPU",
    )
    schedule_policy: Literal["fcfs", "lpm", "dfs-weight", "lof", "random"] | None = option(
        "LLM_SCHEDULE_POLICY",
        parse=str.lower,
        description="Order in which SGLang takes waiting requests; unset: first come first served",
    )
    speculative_algorithm: str = option(
        "LLM_SPECULATIVE_ALGORITHM",
        "",
        description="Speculative decoding; unset: none",
        takes="a name that SGLang knows, such as EAGLE, EAGLE3, NEXTN, STANDALONE or NGRAM",
    )
    speculative_draft_model: ModelId | None = option(
        "LLM_SPECULATIVE_DRAFT_MODEL",
        parse=ModelId.parse,
        is_argument=False,
        description="Model that drafts for speculative decoding",
        takes="a model id of the form owner/repo",
    )
    speculative_draft_model_path: Path | None = None
    speculative_num_steps: int | None = option(
        "LLM_SPECULATIVE_NUM_STEPS", ge=1, le=64, description="Steps of one draft"
    )
    speculative_eagle_topk: int | None = option(
        "LLM_SPECULATIVE_EAGLE_TOPK", ge=1, le=64, description="Branches of a draft's step"
    )
    speculative_num_draft_tokens: int | None = option(
        "LLM_SPECULATIVE_NUM_DRAFT_TOKENS", ge=1, le=1024, description="Most tokens of one draft"
    )
    kv_cache_scales: Path | None = option(
        "LLM_KV_CACHE_SCALES",
        parse=_parse_file,
        is_argument=False,
        description="Scales for an FP8 KV cache where the checkpoint has none",
        takes="a JSON file in SGLang's format (its --quantization-param-path)",
    )
    max_lora_rank: int | None = option(
        "LLM_MAX_LORA_RANK",
        ge=1,
        le=4096,
        description="Largest rank of a LoRA adapter; unset: of those that are named",
    )
    extra_args: tuple[str, ...] = option(
        "LLM_SGLANG_ARGS",
        (),
        parse=_parse_words,
        is_argument=False,
        description="Further arguments of SGLang's command line, checked against its own list when "
        "it starts",
        takes="words as in a shell, such as --mem-fraction-static 0.8 --enable-torch-compile",
    )

    def find_mistake(self) -> str:
        """Says which variables do not go together; empty where all do."""
        if self.node_rank >= self.nnodes:
            return (
                "LLM_NODE_RANK: counts from 0 and must be below LLM_NNODES, which is "
                f"{self.nnodes} (got '{self.node_rank}')"
            )
        if self.nnodes > 1 and not self.dist_init_addr:
            return "LLM_NNODES above 1 needs LLM_DIST_INIT_ADDR, the same on each machine"
        if self.nnodes > 1 and self.tp_size is None:
            return "LLM_NNODES above 1 needs LLM_TP_SIZE: no machine sees the GPUs of the others"
        return ""


VARIABLES: Final = {
    name: option.variable for name, option in options(SglangSettings).items() if option.is_argument
}
"""The variable of each argument that has one, by SGLang's own name for it."""
