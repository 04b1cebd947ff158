"""Two results beside each other: ratios, and how far they are to be trusted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from .percentiles import percentile
from .result import LoadForm, Result, Run, Samples, WorkloadForm

_NUM_RESAMPLES = 400
_INTERVAL = (0.025, 0.975)
_SAME_LENGTH = 0.02
_Read = Callable[[Run], float | None]


@dataclass(frozen=True, slots=True)
class Ratio:
    """What the second result has, as a multiple of the first.

    With several runs in each `least` and `most` are those of the pairs, and `ratio` their median.
    With one run in each they bound 95 % of what other requests of the same kind would give
    (bootstrap over requests); None: nothing in one run tells it.
    """

    name: str
    unit: str
    first: float
    second: float
    ratio: float
    least: float | None
    most: float | None
    is_more_better: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ratios of two results; `differences` are why they may not be compared at all."""

    first: str
    second: str
    num_pairs: int
    ratios: list[Ratio]
    differences: list[str]


@dataclass(frozen=True, slots=True)
class _Measure:
    name: str
    unit: str
    read: _Read
    is_more_better: bool = False
    column: Callable[[Samples], Sequence[float | None]] | None = None
    share: float = 0.5


def _spread(name: str, place: str) -> _Read:
    def read(run: Run) -> float | None:
        spread = getattr(run, name)
        return None if spread is None else float(getattr(spread, place))

    return read


def _percentiles(
    title: str, name: str, column: Callable[[Samples], Sequence[float | None]] | None
) -> list[_Measure]:
    return [
        _Measure(
            f"{title} p{number}",
            "s",
            _spread(name, f"p{number}"),
            column=column,
            share=number / 100,
        )
        for number in (50, 95, 99)
    ]


def _goodput(run: Run) -> float | None:
    return None if run.goodput is None else run.goodput.requests_per_s


_MEASURES = (
    _Measure("requests", "1/s", lambda run: run.throughput.requests_per_s, True),
    _Measure("output tokens", "1/s", lambda run: run.throughput.output_tokens_per_s, True),
    _Measure("input tokens", "1/s", lambda run: run.throughput.input_tokens_per_s, True),
    *_percentiles("TTFT", "ttft_s", lambda samples: samples.ttft_s),
    *_percentiles("ITL", "itl_s", None),
    *_percentiles("TPOT", "tpot_s", lambda samples: samples.tpot_s),
    *_percentiles("end to end", "e2e_s", lambda samples: samples.e2e_s),
    _Measure("goodput", "1/s", _goodput, True),
)


def compare(first: Result, second: Result) -> Comparison:
    """Compares run by run, those of one seed or in order; what only one of them has is left out."""
    pairs = _pairs(first.runs, second.runs)
    ratios = [ratio for measure in _MEASURES if (ratio := _ratio(measure, pairs)) is not None]
    return Comparison(
        title_of(first),
        title_of(second),
        len(pairs),
        ratios,
        _differences(first, second),
    )


def _pairs(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    by_seed, by_other_seed = ({run.workload.seed: run for run in runs} for runs in (first, second))
    # A run that failed is missing in one of them: in order, all behind it would be mispaired.
    if len(by_seed) == len(first) and len(by_other_seed) == len(second):
        pairs = [(by_seed[seed], by_other_seed[seed]) for seed in by_seed if seed in by_other_seed]
        if pairs:
            return pairs
    return list(zip(first, second, strict=False))


def title_of(result: Result) -> str:
    """Returns the name of a result: its label, else what it measured."""
    run = result.runs[-1]
    return run.label or f"{run.target.face} at {run.target.address}"


def _ratio(measure: _Measure, pairs: Sequence[tuple[Run, Run]]) -> Ratio | None:
    values = [(measure.read(first), measure.read(second)) for first, second in pairs]
    known = [(one, two) for one, two in values if one and two is not None]
    if not known:
        return None
    ratios = sorted(two / one for one, two in known)
    first = percentile(sorted(one for one, _ in known), 0.5)
    second = percentile(sorted(two for _, two in known), 0.5)
    least, most = (ratios[0], ratios[-1]) if len(pairs) > 1 else _bootstrap(measure, *pairs[0])
    return Ratio(
        measure.name,
        measure.unit,
        first,
        second,
        percentile(ratios, 0.5),
        least,
        most,
        measure.is_more_better,
    )


def _bootstrap(measure: _Measure, first: Run, second: Run) -> tuple[float | None, float | None]:
    """Efron's percentile interval (1979): the same number from requests drawn again and again."""
    if measure.column is None:
        return None, None
    one, two = (
        [value for value in measure.column(run.samples) if value is not None]
        for run in (first, second)
    )
    if len(one) < 2 or len(two) < 2:
        return None, None
    generator = random.Random(0)  # noqa: S311 - drawn to be repeated, not to be secret

    def draw(values: list[float]) -> float:
        return percentile(sorted(generator.choices(values, k=len(values))), measure.share)

    drawn = [(draw(one), draw(two)) for _ in range(_NUM_RESAMPLES)]
    ratios = sorted(
        second_drawn / first_drawn for first_drawn, second_drawn in drawn if first_drawn
    )
    if not ratios:
        return None, None
    return percentile(ratios, _INTERVAL[0]), percentile(ratios, _INTERVAL[1])


def _differences(first: Result, second: Result) -> list[str]:
    """Says what else differs than the server, and what spoils a result."""
    said: list[str] = []
    one, two = _pairs(first.runs, second.runs)[0]
    num_pairs = len(_pairs(first.runs, second.runs))
    if not num_pairs == len(first.runs) == len(second.runs):
        said.append(
            f"{len(first.runs)} runs against {len(second.runs)}: {num_pairs} of them are pairs"
        )
    for name, left, right in (
        ("model", one.target.model, two.target.model),
        ("task", one.target.task, two.target.task),
        *_fields("load", one.load, two.load),
        *_fields("work", one.workload, two.workload),
    ):
        if left != right:
            said.append(f"{name} differs: {left} against {right}")
    for part, read in (("prompt", _mean_input), ("answer", _mean_output)):
        mean, other_mean = read(one), read(two)
        if abs(mean - other_mean) > _SAME_LENGTH * max(mean, other_mean):
            said.append(f"a mean {part} has {mean:.1f} tokens against {other_mean:.1f}")
    for result in (first, second):
        num_failed = sum(run.requests.failed for run in result.runs)
        if num_failed:
            said.append(f"{title_of(result)}: {num_failed} requests failed")
        if any(run.is_partial for run in result.runs):
            said.append(f"{title_of(result)}: a run was interrupted")
        warned = [run.client.warnings for run in result.runs if run.client.warnings]
        if warned:
            said.append(
                f"{title_of(result)}: {len(warned)} of {len(result.runs)} runs warn of their "
                f"client, the last that {warned[-1][0]}"
            )
    return said


def _fields(
    name: str, one: LoadForm | WorkloadForm, two: LoadForm | WorkloadForm
) -> Iterator[tuple[str, object, object]]:
    for field in fields(one):
        yield f"{name}, {field.name},", getattr(one, field.name), getattr(two, field.name)


def _mean_input(run: Run) -> float:
    return run.tokens.input / (run.requests.whole or 1)


def _mean_output(run: Run) -> float:
    return run.tokens.output / (run.requests.whole or 1)
