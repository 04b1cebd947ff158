"""Whether a folder of safetensors and tokenizer is whole, as far as a look at it can tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from .safetensors_file import MalformedSafetensors, read_tensor_shapes

_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<total>\d{5})\.safetensors")
_WEIGHT_INDEX = "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "*.tiktoken")
_PICKLES = ("*.bin", "*.pt", "*.pth")
_LAYER = re.compile(r"model\.layers\.(\d+)\..*")
_EMBEDDING = "model.embed_tokens.weight"

_Shapes = dict[str, tuple[int, ...]]


def find_tokenizer_defect(folder: Path) -> str | None:
    """Returns what is wrong with a folder that should hold a tokenizer."""
    try:
        return _look_for_tokenizer_defect(folder)
    except OSError as error:
        return describe_os_error(error)


def _look_for_tokenizer_defect(folder: Path) -> str | None:
    files = [file for pattern in _TOKENIZERS for file in sorted(folder.glob(pattern))]
    if not files:
        return "there is no tokenizer (tokenizer.json or tokenizer.model)"
    for file in (*files, folder / "tokenizer_config.json"):
        if not file.exists():
            continue
        if not file.is_file():
            return f"{file.name} is not a file"
        if not file.stat().st_size:
            return f"{file.name} is empty"
        if file.suffix == ".json" and (defect := _find_json_defect(file)):
            return f"{file.name} {defect}"
    return None


def _find_json_defect(file: Path) -> str | None:
    content = _read_object(file)
    if content is None:
        return "is not JSON"
    if file.name == "tokenizer.json":
        # Every kind of model of the library tokenizers has one.
        model = content.get("model")
        if not isinstance(model, dict) or not model.get("vocab"):  # pyright: ignore[reportUnknownMemberType] - JSON
            return "holds no vocabulary"
    return None


def find_safetensors_defect(folder: Path) -> str | None:
    """Returns what is wrong with a folder of safetensors weights, None where nothing is."""
    if not folder.is_dir():
        return f"{folder.name} is not a folder"
    try:
        defect = _find_config_defect(folder)
        if defect is not None:
            return defect
        shapes = _read_weights(folder)
        if isinstance(shapes, str):
            return shapes
        defect = _find_mismatch(_read_object(folder / "config.json") or {}, shapes)
    except OSError as error:
        return describe_os_error(error)
    except MalformedSafetensors as error:
        return str(error)
    return defect or find_tokenizer_defect(folder)


def _find_config_defect(folder: Path) -> str | None:
    file = folder / "config.json"
    if not file.exists():
        return "config.json is missing"
    config = _read_object(file)
    if config is None:
        return "config.json is not JSON"
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        return 'config.json names no architecture ("architectures")'
    return None


def _read_weights(folder: Path) -> _Shapes | str:
    """Returns the shapes of all tensors, or what is wrong with the set of files."""
    index = folder / _WEIGHT_INDEX
    if not index.exists():
        return _read_unlisted(folder)
    weight_map = (_read_object(index) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        return f"{_WEIGHT_INDEX} lists no weights"
    listed: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():  # pyright: ignore[reportUnknownVariableType] - JSON
        listed.setdefault(str(name), set()).add(str(tensor))  # pyright: ignore[reportUnknownArgumentType] - JSON
    shapes: _Shapes = {}
    for name, tensors in sorted(listed.items()):
        found = read_tensor_shapes(folder / name)
        lacking = tensors - found.keys()
        if lacking:
            return (
                f"{name} is a part of another model: {_WEIGHT_INDEX} names {len(lacking)} tensors "
                f"that it lacks, such as {min(lacking)}"
            )
        shapes |= found
    return shapes


def _read_unlisted(folder: Path) -> _Shapes | str:
    """Reads weights that no index lists: one file, or parts that name their number."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return _explain_lack_of_weights(folder)
    shapes: _Shapes = {}
    for file in files:
        match = _SHARD.fullmatch(file.name)
        for number in range(1, int(match["total"]) + 1 if match else 1):
            name = f"{match['stem']}-{number:05d}-of-{match['total']}.safetensors" if match else ""
            if not (folder / name).exists():
                return f"{name} is missing"
        shapes |= read_tensor_shapes(file)
    return shapes


def _find_mismatch(config: dict[str, Any], shapes: _Shapes) -> str | None:
    """Compares the weights with what `config.json` says of them, where both are of the usual form.

    SGLang does not: it was seen to load a checkpoint that lacks a tensor, and on a CPU one whose
    tensors are smaller than the configuration tells, without a word.
    """
    layers = {int(match[1]) for match in map(_LAYER.fullmatch, shapes) if match}
    num_layers = config.get("num_hidden_layers")
    if layers and isinstance(num_layers, int) and len(layers) < num_layers:
        return f"the weights have {len(layers)} of the {num_layers} layers that config.json tells"
    width = shapes.get(_EMBEDDING, (0,))[-1]
    hidden_size = config.get("hidden_size")
    # Quantised weights are packed: their shapes are not the model's.
    is_packed = "quantization_config" in config
    if width and isinstance(hidden_size, int) and width != hidden_size and not is_packed:
        return (
            f"the weights are of another model: their embeddings have {width} numbers a token, and "
            f"config.json tells {hidden_size}"
        )
    return None


def _explain_lack_of_weights(folder: Path) -> str:
    # Callers read it: the operator's other files are not named.
    if any(folder.glob("*.gguf")):
        return (
            "there is no safetensors file, but GGUF: an id that ends with ':' and the file's name "
            "takes it"
        )
    if any(file for pattern in _PICKLES for file in folder.glob(pattern)):
        return (
            f"there is no safetensors file, and pickles ({', '.join(_PICKLES)}) run code when "
            "they are read: convert them to safetensors"
        )
    return "there is no safetensors file"


def _read_object(file: Path) -> dict[str, Any] | None:
    # orjson: a tokenizer.json may have 30 MB.
    try:
        content: Any = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None  # pyright: ignore[reportUnknownVariableType] - JSON


def describe_os_error(error: OSError) -> str:
    """Says which file cannot be read and why, without its folder."""
    name = Path(str(error.filename)).name if error.filename else "a file"
    return f"{name} cannot be read: {error.strerror}"
