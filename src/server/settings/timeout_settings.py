"""Every variable about how long an engine may start, rest or be silent."""

from __future__ import annotations

from ...environment import Settings, setting


class TimeoutSettings(Settings):
    """How long an engine may take to start, go without a request, and give no sign; what then."""

    load_timeout_s: float = setting(
        "LLM_LOAD_TIMEOUT_S",
        1800.0,
        gt=0,
        le=86_400,
        description="Longest start of an engine, in seconds, the download not counted",
    )
    idle_unload_s: float = setting(
        "LLM_IDLE_UNLOAD_S",
        0.0,
        ge=0,
        le=31_536_000,
        description="Seconds without a request after which a model is unloaded until the next one; "
        "0: never",
    )
    hang_timeout_s: float = setting(
        "LLM_HANG_TIMEOUT_S",
        30.0,
        ge=0,
        le=86_400,
        description="Seconds after which an engine with running requests that computes nothing, or "
        "of which a process is stopped, is replaced; one that computes has at least ten times as "
        "long for a step; 0: never",
    )
    stall_timeout_s: float = setting(
        "LLM_STALL_TIMEOUT_S",
        600.0,
        ge=0,
        le=86_400,
        description="Seconds after which an engine that gives no sign of running requests is "
        "replaced; 0: never. A prompt that takes SGLang longer to read would be cut off",
    )
    crash_continuation: bool = setting(
        "LLM_CRASH_CONTINUATION",
        True,
        description="Goes on with running requests on the next engine when theirs dies; false: "
        "they end with ENGINE_LOST",
    )
    continuation_timeout_s: float = setting(
        "LLM_CONTINUATION_TIMEOUT_S",
        300.0,
        gt=0,
        le=86_400,
        description="Longest wait of a running request for the engine that goes on with it, in "
        "seconds, for each death; then it ends with ENGINE_LOST",
    )
