"""What every engine must do.

An engine's test module subclasses `EngineContract` and supplies two fixtures: `launcher`, and
`engine`, launched once, with `max_running=16`, `max_model_len=1024` and prefix caching, serving
SmolLM2-135M-Instruct. It may override `closed` where a start is dear.
"""

from __future__ import annotations

from .cancel_contract import CancelContract
from .generation import (
    GREEDY,
    HANG_S,
    PARIS,
    PARIS_ANSWER,
    STORY,
    answer,
    assert_idle,
    drain,
    id_of,
    request_for,
)
from .prompt_contract import PromptContract
from .sampling_contract import SamplingContract
from .stop_contract import StopContract
from .stream_contract import StreamContract

__all__ = [
    "GREEDY",
    "HANG_S",
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
    PromptContract, StreamContract, StopContract, SamplingContract, CancelContract
):
    """What every engine must do; `lacks` names what one cannot do, with the reason."""
