"""Faults of folders of safetensors and tokenizers that a look at them tells."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from tokenwire.server.files.formats.safetensors_defects import (
    find_safetensors_defect,
    find_tokenizer_defect,
)

from ..weight_files import CONFIG, TOKENIZER, gguf, index_of, tensor_file
from ..weight_folders import as_nobody, assert_tells, open_folder, write

LAYERS = tensor_file(
    "model.embed_tokens.weight", "model.layers.0.mlp.weight", "model.layers.1.mlp.weight"
)


def config(**values: object) -> bytes:
    """Makes a configuration with these values."""
    return json.dumps({"architectures": ["LlamaForCausalLM"], **values}).encode()


WHOLE = {"config.json": CONFIG, **TOKENIZER, "model.safetensors": tensor_file("a", "b")}
SHARDS = {
    "config.json": CONFIG,
    **TOKENIZER,
    "model.safetensors.index.json": index_of(a="m-1.safetensors", b="m-2.safetensors"),
    "m-1.safetensors": tensor_file("a"),
    "m-2.safetensors": tensor_file("b"),
}


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
        r"pickles \(\*\.bin, \*\.pt, \*\.pth\) run code .* convert them to safetensors",
    ),
    "a GGUF file": (
        {"config.json": CONFIG, **TOKENIZER, "a.gguf": gguf()},
        "there is no safetensors file, but GGUF: an id that ends with ':' and the file's name "
        "takes it",
    ),
    "no configuration": (
        {name: file for name, file in WHOLE.items() if name != "config.json"},
        "config.json is missing",
    ),
    "a damaged configuration": (WHOLE | {"config.json": b'{"a":'}, "config.json is not JSON"),
    "an empty configuration": (WHOLE | {"config.json": b""}, "config.json is not JSON"),
    "no architecture": (WHOLE | {"config.json": b"{}"}, "config.json names no architecture"),
    "layers missing": (
        WHOLE | {"config.json": config(num_hidden_layers=3), "model.safetensors": LAYERS},
        "the weights have 2 of the 3 layers that config.json tells",
    ),
    "weights of another width": (
        WHOLE | {"config.json": config(hidden_size=32), "model.safetensors": LAYERS},
        "the weights are of another model: their embeddings have 64 numbers a token, and "
        "config.json tells 32",
    ),
    "no tokenizer": (
        {name: file for name, file in WHOLE.items() if not name.startswith("tokenizer")},
        "there is no tokenizer",
    ),
    "a damaged tokenizer": (WHOLE | {"tokenizer.json": b'{"model":'}, "tokenizer.json is not JSON"),
    "a tokenizer of nothing": (
        WHOLE | {"tokenizer.json": b'{"model": {}}'},
        "tokenizer.json holds no vocabulary",
    ),
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
    assert_tells(found, defect)


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 2, "hidden_size": 64},
        # Layers for predicting several tokens come on top.
        {"num_hidden_layers": 1},
        # Packed weights have shapes of their own.
        {"hidden_size": 128, "quantization_config": {"quant_method": "bitsandbytes"}},
        # A text model inside another one.
        {"text_config": {"num_hidden_layers": 9, "hidden_size": 9}},
    ],
)
def test_weights_of_configuration(tmp_path: Path, values: dict[str, object]) -> None:
    """Weights that are what the configuration tells, or that a look cannot compare, go by."""
    files = WHOLE | {"config.json": config(**values), "model.safetensors": LAYERS}
    assert find_safetensors_defect(write(tmp_path, files)) is None


def test_file_in_place_of_folder(tmp_path: Path) -> None:
    """A file where a folder should be is told as such."""
    (tmp_path / "model").write_bytes(b"x")
    assert find_safetensors_defect(tmp_path / "model") == "model is not a folder"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_safetensors_not_readable(name: str) -> None:
    """A file of a folder that may not be read is told with the system's reason."""
    with open_folder() as folder:
        (write(folder, WHOLE) / name).chmod(0)
        with as_nobody():
            found = find_safetensors_defect(folder)
    assert found == f"{name} cannot be read: Permission denied"


def test_tokenizer_of_its_own(tmp_path: Path) -> None:
    """A folder that holds but a tokenizer is enough where a tokenizer is asked for."""
    assert find_tokenizer_defect(write(tmp_path, TOKENIZER)) is None
