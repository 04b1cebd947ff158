"""What an engine is excused from is what the documentation says that it refuses."""

from __future__ import annotations

import pytest

from ...docs.pages import read_page, table_below
from .contract import EngineContract
from .llama_cpp import test_engine
from .sglang import test_sglang

FIELDS = {
    "seeds": "`seed`",
    "min_tokens": "`min_tokens`",
    "stop_token_ids": "`stop_token_ids`",
    "token_ids": "`return_token_ids`",
    "prompt_logprobs": "`prompt_logprobs`",
}
"""Fields of requests by the name of the ability that they need."""


def documented(column: int) -> dict[str, str]:
    """What the column of an engine refuses, with the reason."""
    rows = table_below(read_page("engines.md"), "## What each one honours")
    return {
        row[0]: row[column].removeprefix("refused: ")
        for row in rows
        if row[column].startswith("refused: ")
    }


@pytest.mark.parametrize(
    ("contract", "column"), [(test_engine.TestLlamaCpp, 1), (test_sglang.TestSglang, 2)]
)
def test_exceptions_are_documented(contract: type[EngineContract], column: int) -> None:
    """The suite's exceptions and the page's refusals are the same, word for word."""
    lacks = {FIELDS[ability]: reason for ability, reason in contract.lacks.items()}
    assert lacks == documented(column)


@pytest.mark.parametrize("contract", [test_engine.TestLlamaCpp, test_sglang.TestSglang])
def test_contract_is_large(contract: type[EngineContract]) -> None:
    """Every engine is held to the whole suite: no test of it is replaced by a module's own."""
    names = {name for name in dir(EngineContract) if name.startswith("test_")}
    assert len(names) > 60
    assert not names & set(vars(contract))
