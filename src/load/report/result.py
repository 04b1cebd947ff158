"""The result of measurements as a file: JSON whose form has a version."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from .percentiles import Spread

SCHEMA: Final = "tokenwire.bench/1"
DEFINITIONS: Final = {
    "ttft_s": "from when the request was due to the first message with output in it",
    "itl_s": "inter-token latency: the wait between two messages with output in them, over all "
    "requests; where the server says that a message holds n tokens, n waits of an nth each",
    "tpot_s": "time per output token, one for each request: from its first message with output to "
    "its last, by its output tokens less one",
    "e2e_s": "from when the request was due to the end of its answer",
    "send_delay_s": "from when the request was due to when this client sent it",
    "due": "closed load: when the caller was free to ask; open load: when the request arrived by "
    "the schedule, so that a client or server that falls behind hides nothing (no coordinated "
    "omission)",
    "throughput": "requests whose answer is whole, and their tokens, by the time from the first "
    "request to the end of the last answer",
    "goodput": "of them those with ttft_s and tpot_s within the targets, by the same time",
}


class ResultMistake(Exception):
    """A file cannot be read or written as a result."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was measured."""

    face: str
    address: str
    model: str
    task: str


@dataclass(frozen=True, slots=True)
class LoadForm:
    """How it was asked: `closed` with a concurrency, `open` with a rate and its arrivals."""

    mode: Literal["closed", "open"]
    concurrency: int | None = None
    rate: float | None = None
    arrivals: str | None = None
    num_requests: int | None = None
    duration_s: float | None = None
    num_warmup: int = 0


@dataclass(frozen=True, slots=True)
class WorkloadForm:
    """What was asked. Empty and None: does not apply. `is_fitted`: by the server's own count."""

    input: str = ""
    output: str = ""
    shared_prefix: int = 0
    num_prefixes: int = 0
    dataset: str = ""
    seed: int = 0
    ignores_eos: bool = True
    temperature: float | None = None
    is_fitted: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests by how they ended. Interrupted: given up by this client, at Ctrl-C."""

    whole: int
    failed: int
    interrupted: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of whole answers, and who counted.

    `usage`: the server; otherwise this client, `fit` by the words it sent, `messages` by the
    messages that came.
    """

    input: int
    output: int
    cached: int | None
    input_counted_by: Literal["usage", "fit", "mixed"]
    output_counted_by: Literal["usage", "messages", "mixed"]
    per_message: float | None


@dataclass(frozen=True, slots=True)
class Throughput:
    """By the second."""

    requests_per_s: float
    output_tokens_per_s: float
    input_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Goodput:
    """Whole answers within the targets."""

    ttft_s: float | None
    itl_s: float | None
    met: int
    share: float
    requests_per_s: float


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Requests that failed alike, and what the server said to the first of them."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class ClientCost:
    """What measuring cost this client; warnings where its own figures may be too large."""

    cpu_s: float
    cpu_share: float
    loop_cpu_share: float
    loop_lag_s: Spread | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Of each `bucket_s` seconds from the start: output tokens, and requests in flight half-way."""

    bucket_s: float
    output_tokens: list[float]
    in_flight: list[int]


@dataclass(frozen=True, slots=True)
class Samples:
    """The whole answers one by one, as columns of equal length; None: no value.

    `due_s` counts from the start.
    """

    due_s: list[float]
    ttft_s: list[float | None]
    tpot_s: list[float | None]
    e2e_s: list[float]
    input_tokens: list[int]
    output_tokens: list[int]


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement."""

    label: str
    started_at: str
    version: str
    target: Target
    load: LoadForm
    workload: WorkloadForm
    is_partial: bool
    duration_s: float
    requests: Counts
    tokens: Tokens
    throughput: Throughput
    ttft_s: Spread | None
    itl_s: Spread | None
    tpot_s: Spread | None
    e2e_s: Spread | None
    send_delay_s: Spread | None
    goodput: Goodput | None
    errors: list[ErrorKind]
    client: ClientCost
    itl_quantiles_s: list[float]
    timeline: Timeline
    samples: Samples


@dataclass(frozen=True, slots=True)
class Result:
    """A file: one measurement, or several that repeat it."""

    schema: Literal["tokenwire.bench/1"]
    runs: list[Run]
    definitions: dict[str, str] = field(default_factory=lambda: dict(DEFINITIONS))

    @classmethod
    def of(cls, *runs: Run) -> Self:
        """Returns the result that holds these."""
        return cls(SCHEMA, list(runs))


def read_result(path: Path) -> Result:
    """Reads a file.

    Raises:
        ResultMistake: it cannot be read, or is no result of this version.
    """
    try:
        result = msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        raise ResultMistake(f"{path} cannot be read: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ResultMistake(f"{path} is no result of {SCHEMA}: {error}") from error
    if not result.runs:
        raise ResultMistake(f"{path} holds no run")
    return result


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        ResultMistake: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ResultMistake(f"{path} cannot be written: {error}") from error


def encode_result(result: Result) -> bytes:
    """Returns the bytes of a file."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"
