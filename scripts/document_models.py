"""Writes the tables of docs/models.md. Run from the root: `python -m scripts.document_models FILE`.

FILE holds what `make test-models` found; the tables of ids and architectures are those of the
tests.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.models.architectures import ARCHITECTURES, Architecture
from tests.models.documented import (
    GGUF_MODELS,
    STANDARD_MODELS,
    VISION_MODELS,
    DocumentedModel,
)
from tests.models.gguf_checkpoints import GGUF_ARCHITECTURES

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
_GGUF_NAMES = {architecture.name for architecture in GGUF_ARCHITECTURES}
_CODE = {
    "sglang": "registered",
    "transformers": "by the code of transformers, which SGLang takes where it has none",
    "none": "not known to SGLang",
}


def main(file: Path) -> int:
    """Replaces each generated part of the page."""
    results: dict[str, Any] = json.loads(file.read_text())
    found, figures = results["found"], results["figures"]
    tried = {architecture.name for architecture in ARCHITECTURES if not architecture.cpu_obstacle}
    missing = (tried - found.get("sglang", {}).keys()) | (
        _GGUF_NAMES - found.get("llama.cpp", {}).keys()
    )
    if missing or "registry" not in found or len(figures) < 2:
        print(f"not all tests ran (no result of {sorted(missing)}): docs/models.md stays")
        return 0
    text = PAGE.read_text(encoding="utf-8")
    text = _replaced(text, "run", [_run_sentence(results)])
    text = _replaced(text, "families", _family_table(found))
    text = _replaced(text, "concurrency", _concurrency_table(figures))
    for name, models in (
        ("gguf ids", GGUF_MODELS),
        ("standard ids", STANDARD_MODELS),
        ("vision ids", VISION_MODELS),
    ):
        text = _replaced(text, name, _id_table(models, found))
    PAGE.write_text(text, encoding="utf-8")
    print("wrote docs/models.md")
    return 0


def _replaced(text: str, name: str, lines: Iterable[str]) -> str:
    start, end = f"<!-- {name}: written by make test-models -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    if not after:
        raise SystemExit(f"docs/models.md has no place for: {name}")
    return before + start + "\n".join(lines) + "\n" + end + after


def _run_sentence(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    return f"Found by `tests/models` on {results['date']}, on a CPU, with {versions}."


def _family_table(found: dict[str, dict[str, str]]) -> list[str]:
    rows = [
        [
            architecture.family,
            f"`{architecture.architecture}`",
            _CODE[found["registry"][architecture.architecture]],
            _sglang_result(architecture, found),
            f"`{architecture.gguf}`",
            found["llama.cpp"].get(architecture.name, "not run: llama.cpp knows the name"),
        ]
        for architecture in ARCHITECTURES
    ]
    head = ["Family", "Architecture", "In SGLang", "SGLang on a CPU", "In GGUF", "llama.cpp"]
    return _table(head, rows)


def _sglang_result(architecture: Architecture, found: dict[str, dict[str, str]]) -> str:
    return architecture.cpu_obstacle or found["sglang"][architecture.name]


def _concurrency_table(figures: dict[str, str]) -> list[str]:
    names = {"concurrency_sglang": "SGLang, float32", "concurrency_llamacpp": "llama.cpp, float16"}
    return _table(
        ["Engine", "32 requests, alone and together"],
        [[label, figures[name]] for name, label in names.items()],
    )


def _id_table(models: Sequence[DocumentedModel], found: dict[str, dict[str, str]]) -> list[str]:
    rows = [
        [
            f"`{model.model_id}`",
            f"`{model.architecture}`",
            *([f"`{model.gguf}`"] if model.gguf else []),
            _on_gpu(model, found["registry"][model.architecture]),
        ]
        for model in models
    ]
    in_gguf = ["In GGUF"] if models[0].gguf else []
    return _table(["Id", "Architecture", *in_gguf, "On a GPU"], rows)


def _on_gpu(model: DocumentedModel, code: str) -> str:
    if model.gguf:
        is_sglang = model.gpu_engine == "sglang"
        return "SGLang" if is_sglang else "llama.cpp, on the CPU: SGLang cannot load the file"
    return model.sglang_obstacle or f"SGLang; {_CODE[code]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
