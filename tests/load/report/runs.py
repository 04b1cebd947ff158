"""Results of exchanges that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenwire.load.client_watch import ClientWatch
from tokenwire.load.faces.exchange import Exchange, Failure
from tokenwire.load.faces.face import LoadRequest
from tokenwire.load.measurement import Measured
from tokenwire.load.report.result import LoadForm, Run, Target, WorkloadForm
from tokenwire.load.report.summary import Setting, summarise

SETTING = Setting(
    label="",
    started_at="2026-11-27T12:00:00+00:00",
    version="0.1.0",
    target=Target("openai", "http://host/v1", "owner/model", "chat"),
    load=LoadForm("closed", 2, num_requests=4, num_warmup=1),
    workload=WorkloadForm(input="16", output="3"),
)


def exchange(due_s: float, *arrivals_s: float, usage: tuple[int, int] | None = None) -> Exchange:
    """An answer whose tokens came at these times, and which ended with the last of them."""
    now_s = [due_s]
    made = Exchange(lambda: now_s[0], due_s)
    for now_s[0] in arrivals_s:
        made.note_output()
    made.end()
    if usage is not None:
        made.note_usage(*usage, 4)
    return made


def failed(due_s: float, kind: str, message: str = "no") -> Exchange:
    made = exchange(due_s)
    made.failure = Failure(kind, message)
    return made


def measured(*exchanges: Exchange, watch: ClientWatch | None = None) -> Measured:
    pairs = [(LoadRequest("p", 3, 16), each) for each in exchanges]
    return Measured(100.0, 110.0, watch=watch or ClientWatch(), exchanges=pairs)


def run_of(exchanges: Sequence[Exchange], label: str = "", **fields: object) -> Run:
    setting = replace(SETTING, label=label, **fields)  # type: ignore[arg-type]
    return summarise(setting, measured(*exchanges))


def steady(count: int, ttft_s: float, label: str = "", **fields: object) -> Run:
    """A run of answers that begin after about `ttft_s` and have a token every 0.1 s."""
    exchanges = [
        exchange(
            100 + number,
            *(100 + number + ttft_s * (1 + number / 100) + 0.1 * token for token in range(3)),
        )
        for number in range(count)
    ]
    return run_of(exchanges, label, **fields)
