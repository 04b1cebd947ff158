from __future__ import annotations

import pytest
from tokenwire.server.contract.model_id import InvalidModelId, ModelId


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("owner/repo", ModelId("owner/repo")),
        ("THUDM/glm-4-9b-chat", ModelId("THUDM/glm-4-9b-chat")),
        ("o/r:f.gguf", ModelId("o/r", "f.gguf")),
        ("o/r-GGUF:Q4/f-00001-of-00003.gguf", ModelId("o/r-GGUF", "Q4/f-00001-of-00003.gguf")),
        ("o/r:f.Q4_K_M.gguf@t/k", ModelId("o/r", "f.Q4_K_M.gguf", "t/k")),
        ("o/r:f.gguf+mm/proj.gguf", ModelId("o/r", "f.gguf", None, "mm/proj.gguf")),
        ("o/r:f.gguf+mmproj.gguf@t/k", ModelId("o/r", "f.gguf", "t/k", "mmproj.gguf")),
    ],
)
def test_forms(text: str, parsed: ModelId) -> None:
    """The three forms are read, and written the same again."""
    assert ModelId.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repo",
        "a/b/c",
        "/a/b",
        "../b",
        "a/..",
        "a/b:",
        "a/b:../c.gguf",
        "a/b:/etc/c.gguf",
        "a/b:x/../c.gguf",
        "a/b:c.bin",
        "a/b:c.gguf+",
        "a/b:c.gguf+d",
        "a/b:c.gguf+../d.gguf",
        "a/b:c.gguf+/etc/d.gguf",
        "a/b:c.gguf+d.gguf+e.gguf",
        "a/b:+d.gguf",
        "a/b+d.gguf",
        "a/b:c.gguf@",
        "a/b:c.gguf@d",
        "a/b:c.gguf@../d",
        "a b/c",
        "a/b\x00",
        "а/b",  # noqa: RUF001 - a Cyrillic letter that looks like ours
        "a/" + "b" * 600,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """No other text is an id, least of all one that leaves its folder."""
    with pytest.raises(InvalidModelId):
        ModelId.parse(text)


@pytest.mark.parametrize("text", ["TheBloke/x-GGUF", "microsoft/Phi-3-mini-4k-instruct-gguf"])
def test_a_gguf_repository_without_a_file_shows_the_form(text: str) -> None:
    """The message names the form with a file."""
    with pytest.raises(InvalidModelId, match=r"owner/repo:file\.gguf"):
        ModelId.parse(text)


def test_an_id_at_its_limit_and_above() -> None:
    """512 characters are an id, as a request may name it; one more is none."""
    folders = "/".join(["f" * 90] * 5)
    text = f"owner/repo:{folders}/".ljust(512 - len(".gguf"), "f") + ".gguf"
    assert str(ModelId.parse(text)) == text
    with pytest.raises(InvalidModelId, match="at most 512 characters"):
        ModelId.parse(text.replace(".gguf", "f.gguf"))
