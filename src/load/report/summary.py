"""From what came of each request to the numbers of the whole."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..client_watch import ClientWatch
from ..faces.exchange import Exchange
from ..faces.face import LoadRequest
from ..measurement import Measured
from .percentiles import percentile, quantiles_of, spread_of
from .result import (
    ClientCost,
    Counts,
    ErrorKind,
    Goodput,
    LoadForm,
    Run,
    Samples,
    Target,
    Throughput,
    Timeline,
    Tokens,
    WorkloadForm,
)

_MAX_BUCKETS = 60
_BUSY_SHARE = 0.8
_LATE_S = 0.01
_LATE_OF_ITL = 0.25
_Pair = tuple[LoadRequest, Exchange]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known before anything is sent."""

    label: str
    started_at: str
    version: str
    target: Target
    load: LoadForm
    workload: WorkloadForm
    target_ttft_s: float | None = None
    target_itl_s: float | None = None


def summarise(setting: Setting, measured: Measured) -> Run:
    """Returns the numbers of one measurement."""
    exchanges = [exchange for _, exchange in measured.exchanges]
    whole = [pair for pair in measured.exchanges if pair[1].is_whole]
    answers = [exchange for _, exchange in whole]
    duration_s = max((e.ended_s for e in exchanges), default=measured.ended_s) - measured.begun_s
    gaps_s = array("d")
    for answer in answers:
        gaps_s.extend(answer.gaps_s())
    itl_s = spread_of(gaps_s)
    tokens = _tokens(whole)
    per_s = 1 / duration_s if duration_s > 0 else 0.0
    return Run(
        label=setting.label,
        started_at=setting.started_at,
        version=setting.version,
        target=setting.target,
        load=setting.load,
        workload=setting.workload,
        is_partial=measured.is_partial,
        duration_s=duration_s,
        requests=Counts(
            len(whole),
            sum(exchange.failure is not None for exchange in exchanges),
            sum(exchange.is_interrupted for exchange in exchanges),
        ),
        tokens=tokens,
        throughput=Throughput(len(whole) * per_s, tokens.output * per_s, tokens.input * per_s),
        ttft_s=spread_of(a.ttft_s for a in answers if a.ttft_s is not None),
        itl_s=itl_s,
        tpot_s=spread_of(a.tpot_s for a in answers if a.tpot_s is not None),
        e2e_s=spread_of(a.e2e_s for a in answers),
        send_delay_s=spread_of(e.sent_s - e.intended_s for e in exchanges),
        goodput=_goodput(setting, answers, per_s),
        errors=_errors(exchanges),
        client=_client_cost(measured.watch, None if itl_s is None else itl_s.p50),
        itl_quantiles_s=quantiles_of(gaps_s),
        timeline=_timeline(exchanges, measured.begun_s, duration_s),
        samples=_samples(whole, measured.begun_s),
    )


def _tokens(whole: Sequence[_Pair]) -> Tokens:
    answers = [exchange for _, exchange in whole]
    num_messages = sum(len(answer.times) for answer in answers)
    num_output = sum(answer.num_output_tokens for answer in answers)
    cached = [a.num_cached_tokens for a in answers if a.num_cached_tokens is not None]
    num_input_told = sum(answer.told_prompt_tokens is not None for answer in answers)
    num_output_told = sum(answer.told_output_tokens is not None for answer in answers)
    input_by: Literal["usage", "fit", "mixed"] = "mixed"
    output_by: Literal["usage", "messages", "mixed"] = "mixed"
    if num_input_told in (0, len(answers)):
        input_by = "usage" if num_input_told else "fit"
    if num_output_told in (0, len(answers)):
        output_by = "usage" if num_output_told else "messages"
    return Tokens(
        input=sum(_num_input(pair) for pair in whole),
        output=num_output,
        cached=sum(cached) if cached else None,
        input_counted_by=input_by,
        output_counted_by=output_by,
        per_message=num_output / num_messages if num_messages else None,
    )


def _num_input(pair: _Pair) -> int:
    request, answer = pair
    told = answer.told_prompt_tokens
    return request.num_prompt_tokens if told is None else told


def _goodput(setting: Setting, answers: Sequence[Exchange], per_s: float) -> Goodput | None:
    ttft_s, itl_s = setting.target_ttft_s, setting.target_itl_s
    if ttft_s is None and itl_s is None:
        return None
    met = sum(_within(a.ttft_s, ttft_s) and _within(a.tpot_s or 0.0, itl_s) for a in answers)
    share = met / len(answers) if answers else 0.0
    return Goodput(ttft_s, itl_s, met, share, met * per_s)


def _within(value_s: float | None, target_s: float | None) -> bool:
    """An answer without a first token has no TTFT, and misses any target for it."""
    return target_s is None or (value_s is not None and value_s <= target_s)


def _errors(exchanges: Sequence[Exchange]) -> list[ErrorKind]:
    failures = [exchange.failure for exchange in exchanges if exchange.failure is not None]
    examples: dict[str, str] = {}
    for failure in failures:
        examples.setdefault(failure.kind, failure.message)
    counts = Counter(failure.kind for failure in failures)
    return [ErrorKind(kind, count, examples[kind]) for kind, count in counts.most_common()]


def _client_cost(watch: ClientWatch, itl_s: float | None) -> ClientCost:
    wall_s = watch.wall_s or 1.0
    loop_share = watch.loop_cpu_s / wall_s
    warnings: list[str] = []
    if loop_share > _BUSY_SHARE:
        warnings.append(
            f"this client was the bottleneck: its event loop used {loop_share:.0%} of a CPU; "
            "ask for less at once, or share the load among several clients"
        )
    late_s = percentile(sorted(watch.lags_s), 0.99) if watch.lags_s else 0.0
    if late_s > max(_LATE_S, _LATE_OF_ITL * (itl_s or 0.0)):
        warnings.append(
            f"this client was late by {late_s * 1000:.0f} ms at its 99th percentile, which its "
            "times include: it, or what else runs on this machine, takes the CPU"
        )
    lag_s = spread_of(watch.lags_s)
    return ClientCost(watch.cpu_s, watch.cpu_s / wall_s, loop_share, lag_s, warnings)


def _timeline(exchanges: Sequence[Exchange], begun_s: float, duration_s: float) -> Timeline:
    bucket_s = next(size for size in _bucket_sizes() if duration_s / size <= _MAX_BUCKETS)
    num_buckets = max(1, math.ceil(duration_s / bucket_s))

    def bucket_of(time_s: float) -> int:
        return min(num_buckets - 1, max(0, int((time_s - begun_s) / bucket_s)))

    tokens = [0.0] * num_buckets
    changes = [0] * (num_buckets + 1)

    def first_middle_after(time_s: float) -> int:
        return min(num_buckets, max(0, math.ceil((time_s - begun_s) / bucket_s - 0.5)))

    for exchange in exchanges:
        # Where the server told more tokens than messages showed, each message had its share.
        weight = exchange.num_output_tokens / (sum(exchange.counts) or 1)
        for time_s, count in zip(exchange.times, exchange.counts, strict=True):
            tokens[bucket_of(time_s)] += count * weight
        changes[first_middle_after(exchange.sent_s)] += 1
        changes[first_middle_after(exchange.ended_s)] -= 1
    in_flight: list[int] = []
    now = 0
    for change in changes[:-1]:
        now += change
        in_flight.append(now)
    return Timeline(bucket_s, tokens, in_flight)


def _bucket_sizes() -> list[float]:
    return [factor * 10.0**power for power in range(-1, 7) for factor in (1, 2, 5)]


def _samples(whole: Sequence[_Pair], begun_s: float) -> Samples:
    answers = [exchange for _, exchange in whole]
    return Samples(
        due_s=[answer.intended_s - begun_s for answer in answers],
        ttft_s=[answer.ttft_s for answer in answers],
        tpot_s=[answer.tpot_s for answer in answers],
        e2e_s=[answer.e2e_s for answer in answers],
        input_tokens=[_num_input(pair) for pair in whole],
        output_tokens=[answer.num_output_tokens for answer in answers],
    )
