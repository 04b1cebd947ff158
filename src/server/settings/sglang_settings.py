"""Every variable that only SGLang reads."""

from __future__ import annotations

import enum
import shlex
from typing import Self

from pydantic import ValidationInfo, field_validator, model_validator

from ...environment import setting
from ...logs import LogSettings
from ..contract.engine_settings import SglangOptions
from ..contract.model_id import InvalidModelId, ModelId

_MAX_PARALLEL = 1024
_MAX_INT = 2**31 - 1


class SchedulePolicy(enum.Enum):
    """In which order SGLang takes waiting requests; the names are its own."""

    FCFS = "fcfs"
    LPM = "lpm"
    DFS_WEIGHT = "dfs-weight"
    LOF = "lof"
    RANDOM = "random"


class SglangSettings(LogSettings):
    """Parallelism, speculative decoding and scheduling of SGLang."""

    tp_size: int | None = setting(
        "LLM_TP_SIZE",
        None,
        ge=1,
        le=_MAX_PARALLEL,
        default_text="auto",
        description="GPUs that share the layers of a model (tensor parallelism); auto: the fewest "
        "that hold it and divide its heads",
        takes=f"auto or a whole number from 1 to {_MAX_PARALLEL}",
    )
    pp_size: int = setting(
        "LLM_PP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="Groups of GPUs that have the layers in turn (pipeline parallelism)",
    )
    dp_size: int = setting(
        "LLM_DP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="Copies of a model that share the requests (data parallelism)",
    )
    ep_size: int = setting(
        "LLM_EP_SIZE",
        1,
        ge=1,
        le=_MAX_PARALLEL,
        description="GPUs that share the experts of a model (expert parallelism)",
    )
    nnodes: int = setting(
        "LLM_NNODES", 1, ge=1, le=_MAX_PARALLEL, description="Machines that run one model together"
    )
    node_rank: int = setting(
        "LLM_NODE_RANK",
        0,
        ge=0,
        le=_MAX_PARALLEL - 1,
        description="Which of these machines this is, from 0",
    )
    dist_init_addr: str = setting(
        "LLM_DIST_INIT_ADDR",
        "",
        description="Where the machines of one model meet: the address of machine 0",
        takes="host:port",
    )
    attention_backend: str = setting(
        "LLM_ATTENTION_BACKEND",
        "",
        description="Attention kernels of SGLang; unset: its own choice for the GPU",
        takes="a name that SGLang knows, such as fa3, flashinfer or triton",
    )
    chunked_prefill_size: int | None = setting(
        "LLM_CHUNKED_PREFILL_SIZE",
        None,
        ge=1,
        le=_MAX_INT,
        description="Most prompt tokens that one step takes; unset: 512 on a CPU, SGLang's own "
        "choice on a GPU",
    )
    schedule_policy: SchedulePolicy | None = setting(
        "LLM_SCHEDULE_POLICY",
        None,
        description="Order in which SGLang takes waiting requests; unset: first come first served",
    )
    speculative_algorithm: str = setting(
        "LLM_SPECULATIVE_ALGORITHM",
        "",
        description="Speculative decoding; unset: none",
        takes="a name that SGLang knows, such as EAGLE, EAGLE3, NEXTN, STANDALONE or NGRAM",
    )
    speculative_draft_model: ModelId | None = setting(
        "LLM_SPECULATIVE_DRAFT_MODEL",
        None,
        description="Model that drafts for speculative decoding",
        takes="a model id of the form owner/repo",
    )
    speculative_num_steps: int | None = setting(
        "LLM_SPECULATIVE_NUM_STEPS", None, ge=1, le=64, description="Steps of one draft"
    )
    speculative_eagle_topk: int | None = setting(
        "LLM_SPECULATIVE_EAGLE_TOPK", None, ge=1, le=64, description="Branches of a draft's step"
    )
    speculative_num_draft_tokens: int | None = setting(
        "LLM_SPECULATIVE_NUM_DRAFT_TOKENS",
        None,
        ge=1,
        le=1024,
        description="Most tokens of one draft",
    )
    sglang_args: tuple[str, ...] = setting(
        "LLM_SGLANG_ARGS",
        (),
        description="Further arguments of SGLang's command line, checked against its own list when "
        "it starts",
        takes="words as in a shell, such as --mem-fraction-static 0.8 --enable-torch-compile",
    )

    @field_validator("node_rank")
    @classmethod
    def _is_a_node(cls, value: int, info: ValidationInfo) -> int:
        nnodes = info.data.get("nnodes")
        if nnodes is not None and value >= nnodes:
            raise ValueError(f"counts from 0 and must be below LLM_NNODES, which is {nnodes}")
        return value

    @field_validator("dist_init_addr")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdigit()):
            raise ValueError("takes host:port")
        return value

    @model_validator(mode="after")
    def _nodes_can_meet(self) -> Self:
        if self.nnodes > 1 and not self.dist_init_addr:
            raise ValueError(
                "LLM_NNODES above 1 needs LLM_DIST_INIT_ADDR, the same on each machine"
            )
        if self.nnodes > 1 and self.tp_size is None:
            raise ValueError(
                "LLM_NNODES above 1 needs LLM_TP_SIZE: no machine sees the GPUs of the others"
            )
        return self

    @field_validator("tp_size", mode="before")
    @classmethod
    def _auto_size(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "auto" else value

    @field_validator("schedule_policy", mode="before")
    @classmethod
    def _lower_policy(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("speculative_draft_model", mode="before")
    @classmethod
    def _parse_draft_model(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return ModelId.parse(value)
        except InvalidModelId as error:
            raise ValueError(str(error)) from None

    @field_validator("sglang_args", mode="before")
    @classmethod
    def _split_args(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"is not split into words: {error}") from None

    def sglang_options(self, tp_size: int) -> SglangOptions:
        """Picks what SGLang alone is told; `tp_size` is decided, where it was auto."""
        return SglangOptions(
            tp_size=tp_size,
            dp_size=self.dp_size,
            pp_size=self.pp_size,
            ep_size=self.ep_size,
            nnodes=self.nnodes,
            node_rank=self.node_rank,
            dist_init_addr=self.dist_init_addr,
            attention_backend=self.attention_backend,
            chunked_prefill_size=self.chunked_prefill_size,
            schedule_policy=self.schedule_policy.value if self.schedule_policy else "",
            speculative_algorithm=self.speculative_algorithm,
            speculative_num_steps=self.speculative_num_steps,
            speculative_eagle_topk=self.speculative_eagle_topk,
            speculative_num_draft_tokens=self.speculative_num_draft_tokens,
            extra_args=self.sglang_args,
        )
