"""Where the supported versions of SGLang differ."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.sglang.versions import (
    MissingArgument,
    fit_arguments,
    has_cpu_pages,
)


def test_missing_tuning_is_left_out() -> None:
    """An argument that only tunes is left out where SGLang lacks it, and named."""
    given = {"model_path": "/m", "allowed_media_domains": ["none.invalid"]}
    fitted = fit_arguments(given, {"model_path"}, "0.5.17")
    assert fitted.arguments == {"model_path": "/m"}
    assert fitted.left_out == ("allowed_media_domains",)


def test_missing_decision_is_an_error() -> None:
    """An argument that decides what is answered is never dropped."""
    with pytest.raises(MissingArgument, match=r"0\.5\.9 has no argument incremental_streaming"):
        fit_arguments({"incremental_streaming_output": True}, {"model_path"}, "0.5.9")


@pytest.mark.parametrize(
    ("version", "has_pages"),
    [("0.5.17", False), ("0.5.21", False), ("0.5.22", True), ("0.6", True)],
)
def test_cpu_pages(version: str, has_pages: bool) -> None:
    """Older versions allocate pages with a kernel that no CPU runs."""
    assert has_cpu_pages(version) is has_pages
