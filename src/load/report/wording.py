"""How results are worded, on the page and in the terminal."""

from __future__ import annotations

from .comparison import Ratio
from .percentiles import Spread
from .result import LoadForm, Run, WorkloadForm

SPREAD_TITLES = ("mean", "p50", "p90", "p95", "p99", "max")
_COUNTERS = {
    "usage": "counted by the server",
    "fit": "counted by the words that were sent: the server does not say",
    "messages": "counted by messages: the server does not say, and a message may hold several",
    "mixed": "counted by the server where it says, else here",
}


def spread_rows(run: Run) -> list[tuple[str, list[str]]]:
    """Returns what is spread, in milliseconds, a cell for each of `SPREAD_TITLES`."""
    rows: list[tuple[str, Spread | None]] = [
        ("TTFT", run.ttft_s),
        ("ITL", run.itl_s),
        ("TPOT", run.tpot_s),
        ("end to end", run.e2e_s),
    ]
    if run.load.mode == "open":
        rows.append(("send delay", run.send_delay_s))
    return [(f"{name}, ms", _cells(spread)) for name, spread in rows]


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["-"] * len(SPREAD_TITLES)
    return [milliseconds(getattr(spread, title)) for title in SPREAD_TITLES]


def milliseconds(value_s: float) -> str:
    """Returns milliseconds with three figures that count."""
    value = value_s * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def rate(value: float) -> str:
    """Returns a rate with about three figures."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def describe_load(load: LoadForm) -> str:
    """Says how it was asked."""
    parts = [
        f"{load.concurrency} at once"
        if load.mode == "closed"
        else f"{load.rate:g} requests/s, arrivals {load.arrivals}"
    ]
    parts += [] if load.num_requests is None else [f"{load.num_requests} requests"]
    parts += [] if load.duration_s is None else [f"{load.duration_s:g} s"]
    parts.append(f"{load.num_warmup} to warm up")
    return ", ".join(parts)


def describe_workload(workload: WorkloadForm) -> str:
    """Says what was asked."""
    if workload.dataset:
        parts = [f"prompts of {workload.dataset}", f"answers {workload.output or 'as long as its'}"]
    else:
        how = "fitted to the server's count" if workload.is_fitted else "a word for a token"
        parts = [f"prompts of {workload.input} tokens ({how})", f"answers {workload.output}"]
        if workload.shared_prefix:
            parts.append(f"{workload.num_prefixes} prefixes of {workload.shared_prefix} shared")
    parts.append(f"seed {workload.seed}")
    parts += ["end of sequence ignored"] if workload.ignores_eos else []
    return ", ".join(parts)


def describe_tokens(run: Run) -> list[str]:
    """Says how many tokens there were, and who counted them."""
    tokens = run.tokens
    cached = "" if tokens.cached is None else f", {tokens.cached:,} of them cached"
    return [
        f"{tokens.input:,} input tokens{cached}, {_COUNTERS[tokens.input_counted_by]}",
        f"{tokens.output:,} output tokens, {_COUNTERS[tokens.output_counted_by]}",
    ]


def describe_requests(run: Run) -> str:
    """Says how the requests ended."""
    counts = run.requests
    parts = [f"{counts.whole:,} whole", f"{counts.failed:,} failed"]
    parts += [f"{counts.interrupted:,} interrupted"] if counts.interrupted else []
    return f"{', '.join(parts)} in {run.duration_s:.2f} s"


def describe_goodput(run: Run) -> str:
    """Says how many answers were within the targets; empty where there are none."""
    goodput = run.goodput
    if goodput is None:
        return ""
    targets = [
        f"{name} within {milliseconds(value)} ms"
        for name, value in (("TTFT", goodput.ttft_s), ("TPOT", goodput.itl_s))
        if value is not None
    ]
    return (
        f"{rate(goodput.requests_per_s)} requests/s, {goodput.share:.1%} with "
        f"{' and '.join(targets)}"
    )


def describe_ratio(ratio: Ratio) -> list[str]:
    """Returns the cells of a ratio behind its name: both values, the ratio, least and most."""
    show = milliseconds if ratio.unit == "s" else rate
    bounds = ["-" if bound is None else f"{bound:.2f}" for bound in (ratio.least, ratio.most)]
    return [show(ratio.first), show(ratio.second), f"{ratio.ratio:.2f}", *bounds]


def name_ratio(ratio: Ratio) -> str:
    """Returns the name of a ratio with the unit of its values."""
    return f"{ratio.name}, {'ms' if ratio.unit == 's' else '1/s'}"


def describe_spread(num_pairs: int) -> str:
    """Says what least and most of a comparison are."""
    if num_pairs > 1:
        return f"ratio: the median of {num_pairs} pairs of runs; least and most: of those pairs"
    return (
        "least and most: 95 % of what other requests of the same kind would give (bootstrap). They "
        "say nothing of what changed on the machine between the two: repeat both in turn, with "
        "--append"
    )
