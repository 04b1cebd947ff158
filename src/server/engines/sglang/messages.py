"""The private language of front and host: what is said.

What the contract already has a word for (prompts, requests, events, how far a model is loaded)
travels as it is.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...contract.engine import EngineRequest, EngineStatus, ModelInfo, StepCount
from ...contract.events import EngineEvent
from ...contract.load_progress import LoadProgress
from ...contract.prompts import PlainText, Prompt, RenderedPrompt, TokenizedText
from ...contract.token_ids import TokenIds


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One thing said."""


# Front to host. What has a `query_id` is answered once, with the same id.


class Begin(Message, frozen=True):
    """Load this model. Said once, first.

    `server_args` are keyword arguments of SGLang's `ServerArgs`; `extra_args` words of its command
    line, which win over them. `weight_quantization` is the value of a `WeightQuantization`.
    `has_kv_cache_scales` says whether there are scales for a KV cache, should it be in FP8.
    `gpu_ids` are the GPUs that the host sees. `tool_parser` and `reasoning_parser` are names,
    `auto` or `none`. `special_tokens_in_text` says that control tokens in messages are read.
    """

    server_args: dict[str, Any]  # whatever ServerArgs takes
    on_cpu: bool
    model_format: str
    extra_args: tuple[str, ...] = ()
    weight_quantization: str = "none"
    has_kv_cache_scales: bool = False
    lora_adapters: tuple[str, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    tool_parser: str = "auto"
    reasoning_parser: str = "auto"
    special_tokens_in_text: bool = False


class Render(Message, frozen=True):
    """Apply template and tokenizer."""

    query_id: int
    prompt: Prompt


class Tokenize(Message, frozen=True):
    """Apply the tokenizer alone."""

    query_id: int
    text: PlainText


class Detokenize(Message, frozen=True):
    """Tell what tokens stand for."""

    query_id: int
    token_ids: TokenIds


class Generate(Message, frozen=True):
    """Start a generation."""

    request: EngineRequest


class Abort(Message, frozen=True):
    """Drop a generation. `Released` follows, as after every end."""

    request_id: str


class AskStatus(Message, frozen=True):
    """Report the scheduler's load."""

    query_id: int


class AskSteps(Message, frozen=True):
    """Report how far the scheduler has come."""

    query_id: int


class AskMetrics(Message, frozen=True):
    """Report SGLang's own series."""

    query_id: int


# Host to front.


class Loading(Message, frozen=True):
    """A step of loading."""

    progress: LoadProgress


class Ready(Message, frozen=True):
    """The model is loaded and has answered once. Each copy has `num_pool_tokens` of KV cache."""

    info: ModelInfo
    num_pool_tokens: int


class LoadFailed(Message, frozen=True):
    """The model cannot be loaded.

    `detail` holds SGLang's own words, which are for the log. `message` is empty where there are no
    others. `was_killed`: a process of SGLang was ended from outside.
    """

    message: str
    detail: str = ""
    was_killed: bool = False


class Rendered(Message, frozen=True):
    """A prompt as token ids."""

    query_id: int
    prompt: RenderedPrompt


class Tokenized(Message, frozen=True):
    """A text as tokens."""

    query_id: int
    text: TokenizedText


class Detokenized(Message, frozen=True):
    """What tokens stand for."""

    query_id: int
    data: bytes


class Refused(Message, frozen=True):
    """A prompt that cannot be rendered, or tokens that there are not, with the field at fault."""

    query_id: int
    field: str
    description: str


class Broken(Message, frozen=True):
    """A query failed for a reason that is not the caller's; the host's log has it."""

    query_id: int
    message: str


class StatusReported(Message, frozen=True):
    """The scheduler's load."""

    query_id: int
    status: EngineStatus


class StepsReported(Message, frozen=True):
    """How far the scheduler has come."""

    query_id: int
    steps: StepCount


class MetricsReported(Message, frozen=True):
    """SGLang's own series, as Prometheus text."""

    query_id: int
    text: str


class Event(Message, frozen=True):
    """Something happened in a generation. `Finished` is its good end."""

    request_id: str
    event: EngineEvent


class Failed(Message, frozen=True):
    """The bad end of a generation. `detail` holds SGLang's own words, which are for the log."""

    request_id: str
    message: str
    detail: str = ""


class Released(Message, frozen=True):
    """The scheduler holds nothing of the request any more. The last word on it."""

    request_id: str


class EngineDead(Message, frozen=True):
    """A process of the engine died: nothing more will come."""

    reason: str


Command = (
    Begin | Render | Tokenize | Detokenize | Generate | Abort | AskStatus | AskSteps | AskMetrics
)
Report = (
    Loading
    | Ready
    | LoadFailed
    | Rendered
    | Tokenized
    | Detokenized
    | Refused
    | Broken
    | StatusReported
    | StepsReported
    | MetricsReported
    | Event
    | Failed
    | Released
    | EngineDead
)

COMMANDS: Final = msgspec.msgpack.Decoder(list[Command])
REPORTS: Final = msgspec.msgpack.Decoder(list[Report])
