"""Faults of model files that a look at them tells."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenwire.server.weights import (
    find_gguf_defect,
    find_safetensors_defect,
    find_tokenizer_defect,
)

from .weight_files import CONFIG, LLAMA, TOKENIZER, gguf, index_of, split_part, tensor_file

WHOLE = {"config.json": CONFIG, **TOKENIZER, "model.safetensors": tensor_file("a", "b")}
SHARDS = {
    "config.json": CONFIG,
    **TOKENIZER,
    "model.safetensors.index.json": index_of(a="m-1.safetensors", b="m-2.safetensors"),
    "m-1.safetensors": tensor_file("a"),
    "m-2.safetensors": tensor_file("b"),
}
GGUF = gguf(LLAMA, ["a", "b"])
PARTS = {
    "m-00001-of-00002.gguf": split_part(1, 2, ["a"], 3),
    "m-00002-of-00002.gguf": split_part(2, 2, ["b", "c"], 3),
}
FIRST, SECOND = PARTS


def write(folder: Path, files: Mapping[str, bytes | None]) -> Path:
    """Writes files; None makes a folder of that name."""
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder


# --- Safetensors


@pytest.mark.parametrize("files", [WHOLE, SHARDS], ids=["one file", "shards"])
def test_whole_safetensors(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A whole folder has no defect."""
    assert find_safetensors_defect(write(tmp_path, files)) is None


SAFETENSORS_FAULTS: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no header": (WHOLE | {"model.safetensors": b"\x10"}, "model.safetensors is cut short"),
    "half a header": (
        WHOLE | {"model.safetensors": WHOLE["model.safetensors"][:40]},
        "model.safetensors is cut short: its header has",
    ),
    "no last byte": (
        WHOLE | {"model.safetensors": WHOLE["model.safetensors"][:-1]},
        "model.safetensors is cut short: ",
    ),
    "a byte too many": (
        WHOLE | {"model.safetensors": WHOLE["model.safetensors"] + b"x"},
        "model.safetensors is damaged: it has",
    ),
    "empty": (WHOLE | {"model.safetensors": b""}, "model.safetensors is empty"),
    "a web page": (
        WHOLE | {"model.safetensors": b"<!DOCTYPE html><html></html>"},
        "model.safetensors is not a safetensors file",
    ),
    "a damaged header": (
        WHOLE | {"model.safetensors": struct.pack("<Q", 4) + b"{}}x"},
        "model.safetensors is not a safetensors file",
    ),
    "a header of another kind": (
        WHOLE | {"model.safetensors": struct.pack("<Q", 7) + b'{"a":1}'},
        "model.safetensors is not a safetensors file",
    ),
    "a folder": (WHOLE | {"model.safetensors": None}, "model.safetensors is not a file"),
    "a missing shard": (
        {name: file for name, file in SHARDS.items() if name != "m-2.safetensors"},
        "m-2.safetensors is missing",
    ),
    "a shard of another model": (
        SHARDS | {"m-2.safetensors": tensor_file("other", "more")},
        "m-2.safetensors is a part of another model: .* names 1 tensors that it lacks, such as b",
    ),
    "an index of nothing": (
        SHARDS | {"model.safetensors.index.json": b"{}"},
        "model.safetensors.index.json lists no weights",
    ),
    "a damaged index": (
        SHARDS | {"model.safetensors.index.json": b'{"weight_map":'},
        "model.safetensors.index.json lists no weights",
    ),
    "a missing shard without an index": (
        {
            "config.json": CONFIG,
            **TOKENIZER,
            "model-00001-of-00003.safetensors": tensor_file("a"),
            "model-00003-of-00003.safetensors": tensor_file("c"),
        },
        "model-00002-of-00003.safetensors is missing",
    ),
    "no weights": ({"config.json": CONFIG, **TOKENIZER}, "there is no safetensors file"),
    "pickles": (
        {"config.json": CONFIG, **TOKENIZER, "pytorch_model.bin": b"x"},
        "pytorch_model.bin is a pickle, which runs code .* convert it to safetensors",
    ),
    "a GGUF file": (
        {"config.json": CONFIG, **TOKENIZER, "a.gguf": GGUF},
        "there is no safetensors file, but a.gguf: an id that ends with ':a.gguf' names it",
    ),
    "no configuration": (
        {name: file for name, file in WHOLE.items() if name != "config.json"},
        "config.json is missing",
    ),
    "a damaged configuration": (WHOLE | {"config.json": b'{"a":'}, "config.json is not JSON"),
    "an empty configuration": (WHOLE | {"config.json": b""}, "config.json is not JSON"),
    "no architecture": (WHOLE | {"config.json": b"{}"}, "config.json names no architecture"),
    "no tokenizer": (
        {name: file for name, file in WHOLE.items() if not name.startswith("tokenizer")},
        "there is no tokenizer",
    ),
    "a damaged tokenizer": (WHOLE | {"tokenizer.json": b'{"model":'}, "tokenizer.json is not JSON"),
    "an empty tokenizer": (WHOLE | {"tokenizer.json": b""}, "tokenizer.json is empty"),
    "a tokenizer that is a folder": (
        WHOLE | {"tokenizer.json": None},
        "tokenizer.json is not a file",
    ),
    "a damaged configuration of the tokenizer": (
        WHOLE | {"tokenizer_config.json": b"{"},
        "tokenizer_config.json is not JSON",
    ),
}


@pytest.mark.parametrize(("files", "defect"), SAFETENSORS_FAULTS.values(), ids=SAFETENSORS_FAULTS)
def test_safetensors_fault(tmp_path: Path, files: dict[str, bytes | None], defect: str) -> None:
    """Each fault of a folder is told by the name of the file and what is wrong with it."""
    found = find_safetensors_defect(write(tmp_path, files))
    _assert_tells(found, defect)


def test_file_in_place_of_folder(tmp_path: Path) -> None:
    """A file where a folder should be is told as such."""
    (tmp_path / "model").write_bytes(b"x")
    assert find_safetensors_defect(tmp_path / "model") == "model is not a folder"


# --- GGUF


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
    _assert_tells(find_gguf_defect(tmp_path / "m.gguf"), defect)


def test_missing_gguf(tmp_path: Path) -> None:
    """A file that is not there is named with its folder."""
    _assert_tells(find_gguf_defect(tmp_path / "m.gguf"), "there is no file 'm.gguf' in ")


@pytest.mark.parametrize("at", range(0, 7_000, 997))
def test_damage_anywhere_is_no_crash(tmp_path: Path, gguf_file: Path, at: int) -> None:
    """Damaged bytes at any place of a header end in a sentence or go by, never in a crash."""
    content = bytearray(gguf_file.read_bytes()[: 3 << 20])
    content[at : at + 8] = b"\xff" * 8
    write(tmp_path, {"m.gguf": bytes(content)})
    _assert_tells(find_gguf_defect(tmp_path / "m.gguf"), "'m.gguf' (is|has) ")


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
    _assert_tells(find_gguf_defect(write(tmp_path, files) / FIRST), defect)


def test_later_part(tmp_path: Path) -> None:
    """A split file is loaded from its first part."""
    found = find_gguf_defect(write(tmp_path, PARTS) / SECOND)
    assert found == f"'{SECOND}' is not the first part: name '{FIRST}'"


# --- Permissions


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that everyone may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="tokenwire-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Generator[None]:
    """Reads files with nobody's rights, where the tests run as root: in this thread alone."""
    libc = ctypes.CDLL(None)
    libc.setfsuid(65_534 if os.getuid() == 0 else os.getuid())  # man 2 setfsuid
    try:
        yield
    finally:
        libc.setfsuid(os.getuid())


def test_gguf_not_readable(open_folder: Path) -> None:
    """A GGUF file that may not be read is told with the system's reason."""
    (write(open_folder, {"m.gguf": GGUF}) / "m.gguf").chmod(0)
    with as_nobody():
        found = find_gguf_defect(open_folder / "m.gguf")
    assert found == "'m.gguf' cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_safetensors_not_readable(open_folder: Path, name: str) -> None:
    """A file of a folder that may not be read is told with the system's reason."""
    (write(open_folder, WHOLE) / name).chmod(0)
    with as_nobody():
        found = find_safetensors_defect(open_folder)
    assert found == f"{name} cannot be read: Permission denied"


# --- Tokenizers


def test_tokenizer_of_its_own(tmp_path: Path) -> None:
    """A folder that holds but a tokenizer is enough where a tokenizer is asked for."""
    assert find_tokenizer_defect(write(tmp_path, TOKENIZER)) is None


def _assert_tells(found: str | None, pattern: str) -> None:
    assert found is not None
    assert re.search(pattern, found), found
