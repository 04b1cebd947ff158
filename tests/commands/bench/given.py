"""Options of `tokenwire bench`, as they are where nothing else is said."""

from __future__ import annotations

from typing import Any

from tokenwire.commands.bench.options import BenchOptions
from tokenwire.commands.server_choice import ServerChoice


def options(target: str | None = None, **given: Any) -> BenchOptions:
    choice = ServerChoice(target, **given.pop("choice", {}))
    values: dict[str, Any] = {
        "choice": choice,
        "face": None,
        "model": None,
        "concurrency": None,
        "rate": None,
        "arrivals": "poisson",
        "num_requests": None,
        "duration_s": None,
        "num_warmup": None,
        "timeout_s": 60.0,
        "input_tokens": "64",
        "output_tokens": None,
        "shared_prefix": 0,
        "num_prefixes": 1,
        "dataset": None,
        "max_prompt_tokens": 1024,
        "task": "chat",
        "ignores_eos": True,
        "temperature": None,
        "seed": 0,
        "target_ttft_ms": None,
        "target_itl_ms": None,
        "out": None,
        "appends": False,
        "html": None,
        "as_json": False,
        "label": "",
    }
    assert given.keys() <= values.keys()
    return BenchOptions(**(values | given))
