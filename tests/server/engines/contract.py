"""What every engine must do.

An engine's test module subclasses `EngineContract` and supplies two fixtures: `launcher`, and
`engine`, launched once, with `MAX_RUNNING`, `MAX_MODEL_LEN` and prefix caching, serving
SmolLM2-135M-Instruct. It may override `closed` and `relaunched` where a start is dear.
"""

from __future__ import annotations

from .cache_contract import CacheContract
from .cancel_contract import CancelContract
from .choices_contract import ChoicesContract
from .concurrency_contract import ConcurrencyContract
from .constraint_contract import ConstraintContract
from .context_contract import ContextContract
from .continuation_contract import ContinuationContract
from .delivery_contract import DeliveryContract
from .generation import (
    GREEDY,
    HANG_S,
    MAX_MODEL_LEN,
    MAX_RUNNING,
    PARIS,
    PARIS_ANSWER,
    STORY,
    answer,
    assert_idle,
    drain,
    id_of,
    request_for,
)
from .life_contract import LifeContract
from .logprobs_contract import LogprobsContract
from .metrics_contract import MetricsContract
from .prompt_contract import PromptContract
from .prompt_logprobs_contract import PromptLogprobsContract
from .sampling_contract import SamplingContract
from .stop_contract import StopContract
from .stream_contract import StreamContract
from .tokenizer_contract import TokenizerContract

__all__ = [
    "GREEDY",
    "HANG_S",
    "MAX_MODEL_LEN",
    "MAX_RUNNING",
    "PARIS",
    "PARIS_ANSWER",
    "STORY",
    "answer",
    "assert_idle",
    "drain",
    "id_of",
    "request_for",
    "EngineContract",
]


class EngineContract(
    PromptContract,
    TokenizerContract,
    StreamContract,
    ContextContract,
    CacheContract,
    StopContract,
    SamplingContract,
    ConstraintContract,
    ConcurrencyContract,
    CancelContract,
    LifeContract,
    MetricsContract,
    ChoicesContract,
    LogprobsContract,
    PromptLogprobsContract,
    DeliveryContract,
    ContinuationContract,
):
    """What every engine must do; `lacks` names what one cannot do, with the reason."""
