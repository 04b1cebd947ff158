"""Variables about the KV cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from .loading import load_with


@pytest.mark.parametrize(("value", "is_fp8"), [("auto", False), ("f8e4m3", True), ("FP8", True)])
def test_two_names_of_fp8(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, is_fp8: bool
) -> None:
    """Both names mean the same element type."""
    assert load_with(monkeypatch, tmp_path, LLM_PAGED_CACHE_TYPE=value).has_fp8_kv_cache is is_fp8


def test_pool_is_sized_for_all_requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tokens that are asked for one request count for each that may run at once."""
    sizes = {"LLM_PAGED_ATTENTION_CONTEXT_SIZE": "2048", "LLM_MAX_CONCURRENT_REQUESTS": "3"}
    assert load_with(monkeypatch, tmp_path, **sizes).kv_pool_tokens == 3 * 2048
    # The default of older versions: far too small to be meant as a size.
    assert load_with(monkeypatch, tmp_path).kv_pool_tokens is None
