"""Faults of GGUF files that a look at them tells."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tokenwire.server.files.formats.gguf_defects import find_gguf_defect

from ..weight_files import LLAMA, gguf, split_part
from ..weight_folders import as_nobody, assert_tells, open_folder, write

GGUF = gguf(LLAMA, ["a", "b"])
PARTS = {
    "m-00001-of-00002.gguf": split_part(1, 2, ["a"], 3),
    "m-00002-of-00002.gguf": split_part(2, 2, ["b", "c"], 3),
}
FIRST, SECOND = PARTS


def test_whole_gguf(tmp_path: Path, gguf_file: Path) -> None:
    """Whole files have no defect: one of tensors, one in parts, and a real one."""
    write(tmp_path, {"m.gguf": GGUF, **PARTS})
    assert find_gguf_defect(tmp_path / "m.gguf") is None
    assert find_gguf_defect(tmp_path / FIRST) is None
    assert find_gguf_defect(gguf_file) is None


GGUF_FAULTS: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "'m.gguf' is empty"),
    "a web page": (b"<!DOCTYPE html>", "'m.gguf' is not a GGUF file: it begins with b'<!DO'"),
    "only the magic": (b"GGUF", "'m.gguf' is truncated: its header"),
    "half a header": (GGUF[:60], "'m.gguf' is truncated: its header"),
    "half of a tensor's place": (GGUF[:150], "'m.gguf' is truncated: its header"),
    "no last byte": (GGUF[:-1], "'m.gguf' is truncated: its tensors end at byte"),
    "another version": (GGUF.replace(b"\x03", b"\x63", 1), "'m.gguf' has GGUF version 99"),
    "too many keys": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40),
        "'m.gguf' is damaged: it claims 1099511627776 header keys",
    ),
    "too many tensors": (
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0),
        "'m.gguf' is damaged: it claims 1099511627776 tensors",
    ),
    "too many dimensions": (
        GGUF.replace(struct.pack("<IQ", 1, 32), struct.pack("<IQ", 9, 32), 1),
        "'m.gguf' is damaged: a tensor claims 9 dimensions",
    ),
    "no alignment": (
        gguf({**LLAMA, "general.alignment": 0}, ["a"]),
        "'m.gguf' is damaged: its tensors are aligned to 0",
    ),
    "no architecture": (gguf({"tokenizer.ggml.model": "gpt2"}), "names no architecture"),
    "no tokenizer": (gguf({"general.architecture": "llama"}), "'m.gguf' has no tokenizer"),
    "a folder": (None, "'m.gguf' is a folder, not a file"),
}


@pytest.mark.parametrize(("content", "defect"), GGUF_FAULTS.values(), ids=GGUF_FAULTS)
def test_gguf_fault(tmp_path: Path, content: bytes | None, defect: str) -> None:
    """Each fault of a GGUF file is told by its name and what is wrong with it."""
    write(tmp_path, {"m.gguf": content})
    assert_tells(find_gguf_defect(tmp_path / "m.gguf"), defect)


def test_missing_gguf(tmp_path: Path) -> None:
    """A file that is not there is named, without its folder."""
    assert_tells(find_gguf_defect(tmp_path / "m.gguf"), "there is no file 'm.gguf'")


@pytest.mark.parametrize("at", range(0, 7_000, 997))
def test_damage_anywhere_is_no_crash(tmp_path: Path, gguf_file: Path, at: int) -> None:
    """Damaged bytes at any place of a header end in a sentence or go by, never in a crash."""
    content = bytearray(gguf_file.read_bytes()[: 3 << 20])
    content[at : at + 8] = b"\xff" * 8
    write(tmp_path, {"m.gguf": bytes(content)})
    assert_tells(find_gguf_defect(tmp_path / "m.gguf"), "'m.gguf' (is|has) ")


PART_FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "missing": ({FIRST: PARTS[FIRST]}, f"of 2 parts these are missing: {SECOND}"),
    "truncated": (PARTS | {SECOND: PARTS[SECOND][:-1]}, f"'{SECOND}' is truncated"),
    "empty": (PARTS | {SECOND: b""}, f"'{SECOND}' is empty"),
    "the same twice": (
        PARTS | {SECOND: PARTS[FIRST]},
        f"'{SECOND}' says of itself that it is no part 2 of 2",
    ),
    "a whole file": (
        PARTS | {SECOND: GGUF},
        f"'{SECOND}' says of itself that it is no part 2 of 2",
    ),
    "of another splitting": (
        PARTS | {SECOND: split_part(2, 5, ["b", "c"], 3)},
        f"'{SECOND}' says of itself that it is no part 2 of 2",
    ),
    "of another model, with the same tensors": (
        PARTS | {SECOND: split_part(2, 2, ["a", "c"], 3)},
        f"'{SECOND}' is a part of another model: its tensor 'a' is in '{FIRST}', too",
    ),
    "of another model, of another size": (
        PARTS | {SECOND: split_part(2, 2, ["b", "c"], 9)},
        f"'{SECOND}' is a part of another model than '{FIRST}'",
    ),
    "with tensors missing": (
        PARTS | {SECOND: split_part(2, 2, ["b"], 3)},
        "the 2 parts hold 2 of the model's 3 tensors",
    ),
}


@pytest.mark.parametrize(("files", "defect"), PART_FAULTS.values(), ids=PART_FAULTS)
def test_gguf_part_fault(tmp_path: Path, files: dict[str, bytes], defect: str) -> None:
    """Each fault of a split file is told by the part that has it."""
    assert_tells(find_gguf_defect(write(tmp_path, files) / FIRST), defect)


def test_later_part(tmp_path: Path) -> None:
    """A split file is loaded from its first part."""
    found = find_gguf_defect(write(tmp_path, PARTS) / SECOND)
    assert found == f"'{SECOND}' is not the first part: name '{FIRST}'"


def test_gguf_not_readable() -> None:
    """A GGUF file that may not be read is told with the system's reason."""
    with open_folder() as folder:
        (write(folder, {"m.gguf": GGUF}) / "m.gguf").chmod(0)
        with as_nobody():
            found = find_gguf_defect(folder / "m.gguf")
    assert found == "'m.gguf' cannot be read: Permission denied"
