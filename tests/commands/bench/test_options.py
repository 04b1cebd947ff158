"""What options mean together, and which make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenwire.commands.bench.run import measure_and_report
from tokenwire.environment import ConfigurationError
from tokenwire.load.pace import Closed, Extent, Open
from tokenwire.load.workload.words import WordFit

from ...test_cli import tokenwire
from .given import options


@pytest.mark.parametrize(
    ("target", "given", "words"),
    [
        (None, {"rate": 1.0, "concurrency": 2}, "--concurrency and --rate"),
        (None, {"appends": True}, "--append: needs --out"),
        (None, {"out": Path("no/r.json")}, "--out: the folder"),
        (None, {"html": Path("no/r.html")}, "--html: the folder"),
        (None, {"input_tokens": "many"}, "--input-tokens: takes 128, uniform:64:256"),
        (None, {"output_tokens": "0"}, "--output-tokens: takes 128"),
        ("host:1", {"face": "openai"}, "openai takes an http or https address, got 'host:1'"),
        ("http://host:1", {"face": "grpc"}, "gRPC takes host:port"),
        ("http://host:1", {"choice": {"has_tls": True}}, "are for gRPC"),
        ("http://host:1", {"choice": {"authorities": Path("x")}}, "need an https address"),
        ("https://host:1", {"choice": {"authorities": Path("x")}}, "cannot be used"),
        (None, {"appends": True, "out": Path("bad.json")}, "--append: bad.json is no result"),
    ],
)
async def test_mistakes_are_told_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str | None,
    given: dict[str, Any],
    words: str,
) -> None:
    """Nothing is sent where an option makes no sense; the sentence has the option's name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigurationError) as caught:
        await measure_and_report(options(target, **given))
    assert words in str(caught.value)


async def test_dataset_that_cannot_be_used(tmp_path: Path) -> None:
    """It is named as the option it is."""
    with pytest.raises(ConfigurationError, match=r"--dataset: .*absent cannot be read"):
        options(dataset=tmp_path / "absent").requests(WordFit())


async def test_mistakes_have_their_status(tmp_path: Path) -> None:
    """All at once, with the status of a configuration that cannot be used."""
    status, out, err = await tokenwire(
        tmp_path, "bench", "--rate", "1", "-c", "2", "--input-tokens", "x"
    )
    assert (status, out) == (2, "")
    assert err.startswith("The configuration has 2 mistakes:\n")


def test_what_is_not_given() -> None:
    """One caller for half a minute, as many requests to warm up as callers."""
    assert (options().load, options().extent) == (Closed(1), Extent(None, 30.0))
    assert options(num_requests=7).extent == Extent(7, None)
    assert options(num_requests=7, duration_s=2.0).extent == Extent(7, 2.0)
    assert options(concurrency=4).warmup == (Closed(4), Extent(4))
    assert options(concurrency=4, num_warmup=2).warmup == (Closed(2), Extent(2))
    assert options(rate=3.0, seed=5).load == Open(3.0, seed=5)
    assert options(rate=3.0).warmup == (Closed(1), Extent(1))


@pytest.mark.parametrize(
    ("target", "face", "name"),
    [
        (None, None, "grpc"),
        ("host:1", None, "grpc"),
        ("http://host", None, "openai"),
        ("http://host", "rest", "rest"),
    ],
)
def test_face_follows_from_the_target(target: str | None, face: str | None, name: str) -> None:
    """An http address is OpenAI's door unless another is named."""
    assert options(target, face=face).face_name == name


def test_forms_tell_what_applies() -> None:
    """A result says of a dataset no lengths of prompts, and of `/api` no ignored end."""
    drawn = options(shared_prefix=9, num_prefixes=2).workload_form(WordFit(1, 1, True))
    assert (drawn.input, drawn.output, drawn.shared_prefix, drawn.num_prefixes) == (
        *("64", "128"),
        *(9, 2),
    )
    read = options(dataset=Path("x/d.json")).workload_form(WordFit())
    assert (read.input, read.output, read.dataset) == ("", "", "d.json")
    assert not options(face="rest").workload_form(WordFit()).ignores_eos
