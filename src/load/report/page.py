"""One page that needs nothing beside it: numbers and plots of a result, or of two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .comparison import Comparison, Ratio, title_of
from .plots import NUM_COLOURS, Series, plot
from .result import Result, Run
from .wording import (
    SPREAD_TITLES,
    describe_goodput,
    describe_load,
    describe_ratio,
    describe_requests,
    describe_spread,
    describe_tokens,
    describe_workload,
    milliseconds,
    name_ratio,
    rate,
    spread_rows,
)

_MAX_DOTS = 4000
_RATIO_COLUMN = 3


def write_page(result: Result) -> str:
    """Returns the page of a result: its last run in numbers, the plots of all of them."""
    run = result.runs[-1]
    names = [_run_name(number, each) for number, each in enumerate(result.runs, start=1)]
    body = [
        _head(title_of(result), f"{run.target.model} · {run.target.address} · {run.started_at}"),
        *_warnings([*_partial(run), *run.client.warnings]),
        _tiles(run),
        _plots(names, result.runs),
        "<h2>Times</h2>",
        _table(["", *SPREAD_TITLES], [[name, *cells] for name, cells in spread_rows(run)]),
        *_errors(run),
        "<h2>How it was measured</h2>",
        _facts(run),
        "<h2>What the words mean</h2>",
        _definitions(result.definitions.items()),
    ]
    return _document(title_of(result), body)


def write_comparison_page(comparison: Comparison, first: Result, second: Result) -> str:
    """Returns the page of two results: the ratios, and the plots of the last run of each."""
    runs = [first.runs[-1], second.runs[-1]]
    names = [comparison.first, comparison.second]
    rows = [[name_ratio(ratio), *describe_ratio(ratio)] for ratio in comparison.ratios]
    body = [
        _head(f"{names[1]} against {names[0]}", describe_spread(comparison.num_pairs)),
        *_warnings(comparison.differences),
        _table(
            ["", names[0], names[1], "ratio", "least", "most"],
            rows,
            [_verdict(ratio) for ratio in comparison.ratios],
        ),
        _plots(names, runs),
        *(f"<h2>{escape(name)}</h2>{_facts(run)}" for name, run in zip(names, runs, strict=True)),
        "<h2>What the words mean</h2>",
        _definitions(first.definitions.items()),
    ]
    return _document(f"{names[1]} against {names[0]}", body)


def _document(title: str, body: Iterable[str]) -> str:
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(title: str, line: str) -> str:
    return f'<h1>{escape(title)}</h1><p class="quiet">{escape(line)}</p>'


def _warnings(sentences: Iterable[str]) -> list[str]:
    return [f'<p class="warning">{escape(sentence)}</p>' for sentence in sentences]


def _partial(run: Run) -> list[str]:
    return ["Interrupted: these are the answers that were whole by then."] if run.is_partial else []


def _tiles(run: Run) -> str:
    tiles = [
        ("requests/s", rate(run.throughput.requests_per_s)),
        ("output tokens/s", rate(run.throughput.output_tokens_per_s)),
        ("input tokens/s", rate(run.throughput.input_tokens_per_s)),
        *(
            (f"{name}, median", f"{milliseconds(spread.p50)} ms")
            for name, spread in (
                ("TTFT", run.ttft_s),
                ("ITL", run.itl_s),
                ("end to end", run.e2e_s),
            )
            if spread is not None
        ),
    ]
    if run.goodput is not None:
        tiles.append(("within the targets", f"{run.goodput.share:.1%}"))
    if run.requests.failed:
        tiles.append(("failed", f"{run.requests.failed:,}"))
    items = (f"<li>{escape(name)}<b>{escape(value)}</b></li>" for name, value in tiles)
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _run_name(number: int, run: Run) -> str:
    return f"run {number}, {describe_load(run.load)}"


def _plots(names: Sequence[str], runs: Sequence[Run]) -> str:
    key = ""
    if len(runs) > 1:
        items = (
            f'<li class="s{number % NUM_COLOURS}"><i></i><span>{escape(name)}</span></li>'
            for number, name in enumerate(names)
        )
        key = f'<ul class="key">{"".join(items)}</ul>'
    figures = [
        plot(title, "percentile", "ms", _curves(names, runs, values))
        for title, values in (
            ("Time to first token (TTFT)", [_known(run.samples.ttft_s) for run in runs]),
            ("Inter-token latency (ITL)", [run.itl_quantiles_s for run in runs]),
            ("End to end", [run.samples.e2e_s for run in runs]),
        )
    ]
    figures.append(
        plot(
            "Time to first token, request by request",
            "s since the start",
            "ms",
            [_dots(name, run, number) for number, (name, run) in _numbered(names, runs)],
            is_scatter=True,
        )
    )
    for title, unit, is_rate in (
        ("Output tokens", "tokens/s", True),
        ("Requests in flight", "requests", False),
    ):
        lines = [_steps(name, run, n, is_rate) for n, (name, run) in _numbered(names, runs)]
        figures.append(plot(title, "s since the start", unit, lines))
    return f'<h2>Plots</h2>{key}<div class="plots">{"".join(figures)}</div>'


def _numbered(names: Sequence[str], runs: Sequence[Run]) -> Iterable[tuple[int, tuple[str, Run]]]:
    return enumerate(zip(names, runs, strict=True))


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _curves(
    names: Sequence[str], runs: Sequence[Run], values: Sequence[Sequence[float]]
) -> list[Series]:
    """One curve a run: what share of the values lies below."""
    curves: list[Series] = []
    for number, _ in enumerate(runs):
        ordered = sorted(values[number])
        last = max(1, len(ordered) - 1)
        # A curve needs no more points than the plot has pixels.
        step = max(1, len(ordered) // 400)
        places = sorted({*range(0, len(ordered), step), len(ordered) - 1}) if ordered else []
        points = [(100 * place / last, 1000 * ordered[place]) for place in places]
        curves.append(Series(names[number], points, number))
    return curves


def _dots(name: str, run: Run, number: int) -> Series:
    pairs = zip(run.samples.due_s, run.samples.ttft_s, strict=True)
    points = [(due_s, 1000 * ttft_s) for due_s, ttft_s in pairs if ttft_s is not None]
    return Series(name, points[:: max(1, len(points) // _MAX_DOTS)], number)


def _steps(name: str, run: Run, number: int, is_rate: bool) -> Series:
    size_s = run.timeline.bucket_s
    counts = run.timeline.output_tokens if is_rate else run.timeline.in_flight
    unit = size_s if is_rate else 1.0
    points = [((place + 0.5) * size_s, count / unit) for place, count in enumerate(counts)]
    return Series(name, points, number)


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] | None = None
) -> str:
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines: list[str] = []
    for row, name in zip(rows, classes or [""] * len(rows), strict=True):
        marks = [
            f' class="{name}"' if at == _RATIO_COLUMN and name else "" for at in range(len(row))
        ]
        inner = (f"<td{m}>{escape(cell)}</td>" for m, cell in zip(marks, row, strict=True))
        lines.append(f"<tr>{''.join(inner)}</tr>")
    return f'<div class="wide"><table><tr>{cells}</tr>{"".join(lines)}</table></div>'


def _verdict(ratio: Ratio) -> str:
    """Colours a ratio only where all of its spread lies on one side."""
    if ratio.least is None or ratio.most is None or ratio.least <= 1 <= ratio.most:
        return ""
    return "better" if (ratio.least > 1) == ratio.is_more_better else "worse"


def _errors(run: Run) -> list[str]:
    if not run.errors:
        return []
    rows = [[error.kind, f"{error.count:,}", error.example] for error in run.errors]
    return ["<h2>Errors</h2>", _table(["kind", "requests", "the first of them"], rows)]


def _facts(run: Run) -> str:
    client = run.client
    lag = "" if client.loop_lag_s is None else f", late by {1000 * client.loop_lag_s.p99:.1f} ms"
    facts = [
        ("server", f"{run.target.face} at {run.target.address}"),
        ("model", f"{run.target.model}, {run.target.task}"),
        ("load", describe_load(run.load)),
        ("work", describe_workload(run.workload)),
        ("requests", describe_requests(run)),
        *(("tokens", line) for line in describe_tokens(run)),
        ("goodput", describe_goodput(run)),
        ("this client", f"{client.cpu_share:.0%} of a CPU{lag} (99th percentile)"),
        ("program", f"tokenwire bench {run.version}"),
    ]
    return _definitions((name, text) for name, text in facts if text)


def _definitions(items: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items)
    return f"<dl>{inner}</dl>"
