"""One call as the front works on it: what was asked, its events on the way, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...tracing.trace_context import NO_TRACE, TraceContext
from ..contract.constraint import Constraint
from ..contract.events import FinishReason, Prefill, Told
from ..contract.prompts import Prompt
from ..media.image_source import ImageSource


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """Sampling as asked for; None and zeros where the request says nothing.

    Ranges are checked by the proto's rules, except where `clamp` moves values into them.
    """

    temperature: float | None
    top_p: float | None
    top_k: int
    min_p: float
    repetition_penalty: float | None
    presence_penalty: float
    frequency_penalty: float
    seed: int | None
    max_tokens: int | None
    min_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    logit_bias: Mapping[int, float]
    ignore_eos: bool
    clamp: bool
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class CallContext:
    """What came around a call: who asks, until when, and as part of which trace.

    `deadline_s` is on the clock of `time.monotonic`, None where the caller sets none. `caller` is
    the address that the call came from. `trace` is our span of the call, or the caller's where we
    make none. `key` is the name of its API key, empty where it needs none.
    """

    request_id: str
    deadline_s: float | None = None
    caller: str = ""
    trace: TraceContext = NO_TRACE
    key: str = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, empty for a call that is part of no trace."""
        return self.trace.trace_id


@dataclass(frozen=True, slots=True)
class Call:
    """One Generate or Chat.

    `prompt_field` names the prompt in errors. `prompt_without_template` takes the place of
    `prompt` on a model that cannot chat; None: such a model is refused. `model_id` may be the name
    of a LoRA adapter; `lora_adapter` is empty where the request names none beside it.
    `wants_one_message`: the whole answer is sent as one.
    `hides_thinking` leaves thinking out of the answer, which counts it all the same.
    `images` are those of the prompt's messages, in order.
    """

    context: CallContext
    model_id: str
    lora_adapter: str
    prompt: Prompt
    prompt_field: str
    prompt_without_template: Prompt | None
    sampling: SamplingRequest
    wants_progress: bool
    wants_token_ids: bool
    cache_salt: str
    time_limit_s: float | None
    max_queue_wait_s: float | None
    priority: int = 0
    wants_one_message: bool = False
    hides_thinking: bool = False
    constraint: Constraint | None = None
    images: tuple[ImageSource, ...] = ()


@dataclass(frozen=True, slots=True)
class Loading:
    """The call waits for its model, which is loaded on demand. `fraction` in [0, 1] where known."""

    step: str
    fraction: float | None


@dataclass(frozen=True, slots=True)
class Queued:
    """The call waits for a slot."""

    place: int
    expected_wait_s: float | None


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The engine accepted the call."""

    request_id: str
    model_id: str
    model_revision: str
    num_prompt_tokens: int
    num_cached_prompt_tokens: int | None
    max_tokens: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class Decoding:
    """The engine generates; nothing could be sent for a while."""

    num_completion_tokens: int


@dataclass(frozen=True, slots=True)
class Restarting:
    """The call lost its engine, and waits to go on with another one."""

    num_engines_lost: int


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The end of a call that succeeded. Times in seconds; None where no token came.

    `reason` is that of the first choice. Tokens are summed over choices.
    """

    reason: FinishReason
    num_prompt_tokens: int
    num_cached_prompt_tokens: int
    num_completion_tokens: int
    num_reasoning_tokens: int
    queue_s: float
    ttft_s: float | None
    prefill_s: float | None
    decode_s: float

    @property
    def tokens_per_second(self) -> float:
        """Output tokens after the first, per second of decode; 0 where there are none."""
        if self.num_completion_tokens < 2 or self.decode_s <= 0:
            return 0.0
        return (self.num_completion_tokens - 1) / self.decode_s


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The end of a call that got an error.

    `reason` is that of `google.rpc.ErrorInfo`: `INTERNAL` for what nobody foresaw. `detail` is for
    the log alone.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallAborted:
    """The end of a call whose caller left first."""


INTERNAL: Final = "INTERNAL"
"""The reason of a failure that nobody foresaw."""

DEADLINE_EXCEEDED: Final = "DEADLINE_EXCEEDED"
"""The reason of a caller's deadline, which gRPC itself ends."""

ProgressEvent = Loading | Queued | Prefill | Decoding | Restarting
CallEvent = ProgressEvent | CallStarted | Told | CallFinished
CallOutcome = CallFinished | CallFailed | CallAborted
