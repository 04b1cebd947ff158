"""Which files of a repository belong together, and where an operator may have put them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from ..contract.engine_settings import ModelFormat
from .formats.gguf_defects import find_gguf_defect, split_names
from .formats.lora_folder import ADAPTER_FILES, find_adapter_defect
from .formats.safetensors_defects import find_safetensors_defect, find_tokenizer_defect
from .hub.download import Choose

# What beside the weights an engine reads: configuration, tokenizer, template. Never code.
_COMPANIONS = ("*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt")
TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.tiktoken")
_TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """One set of files of one repository, and how to tell that it is whole.

    `reference` is the branch, tag or commit that is wanted; empty: whichever is here, or the
    newest of the default branch.
    """

    repo: str
    format: ModelFormat
    file: str | None
    selection: str
    choose: Choose
    find_defect: Callable[[Path], str | None]
    reference: str = ""

    def within(self, folder: Path) -> Path:
        """Returns the path of the files in a folder that holds the repository."""
        return folder / self.file if self.file else folder


def want_gguf(repo: str, file: str, *, needs_tokenizer: bool) -> WantedFiles:
    """Names one GGUF file of a repository, with all its parts."""
    folder, slash, name = file.rpartition("/")
    parts = [f"{folder}{slash}{part}" for part in split_names(name)]
    find_defect = partial(find_gguf_defect, needs_tokenizer=needs_tokenizer)
    return WantedFiles(repo, ModelFormat.GGUF, parts[0], parts[0], lambda _: parts, find_defect)


def want_projector(repo: str, file: str) -> WantedFiles:
    """Names the GGUF file of a repository that makes a model of it see."""
    return want_gguf(repo, file, needs_tokenizer=False)


def want_safetensors(repo: str) -> WantedFiles:
    """Names the weights, configuration and tokenizer of a repository."""
    return WantedFiles(
        repo,
        ModelFormat.SAFETENSORS,
        None,
        "safetensors",
        choose_safetensors,
        find_safetensors_defect,
    )


def choose_safetensors(names: list[str]) -> list[str]:
    """Picks weights, configuration and tokenizer of a repository; empty without weights."""
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.endswith(".safetensors")]
    # Some repositories hold the same weights a second time in their author's own layout.
    weights = [name for name in weights if not name.startswith("consolidated")] or weights
    if not weights:
        return []
    companions = [name for name in top if any(fnmatch(name, form) for form in _COMPANIONS)]
    return [*companions, *weights]


def want_tokenizer(repo: str) -> WantedFiles:
    """Names the tokenizer of a repository."""

    def choose(names: list[str]) -> list[str]:
        patterns = (*TOKENIZER_PATTERNS, "chat_template*")
        return [name for name in names if any(Path(name).match(form) for form in patterns)]

    return WantedFiles(
        repo, ModelFormat.SAFETENSORS, None, "tokenizer", choose, find_tokenizer_defect
    )


def want_template(repo: str) -> WantedFiles:
    """Names what may hold the chat template of a repository."""

    def choose(names: list[str]) -> list[str]:
        # Where there is neither, the file that is asked for is the one that is told as missing.
        return [name for name in _TEMPLATE_FILES if name in names] or [_TEMPLATE_FILES[-1]]

    def find_defect(folder: Path) -> str | None:
        if any((folder / name).is_file() for name in _TEMPLATE_FILES):
            return None
        return f"there is neither {' nor '.join(_TEMPLATE_FILES)}"

    return WantedFiles(repo, ModelFormat.SAFETENSORS, None, "template", choose, find_defect)


def want_adapter(repo: str) -> WantedFiles:
    """Names the files of a LoRA adapter."""

    def choose(names: list[str]) -> list[str]:
        return [name for name in names if name in ADAPTER_FILES]

    return WantedFiles(repo, ModelFormat.SAFETENSORS, None, "adapter", choose, find_adapter_defect)


def own_places(root: Path, wanted: WantedFiles) -> Iterator[Path]:
    """Yields where a model may lie below a folder of the operator, the most exact place first."""
    owner, _, name = wanted.repo.partition("/")
    folders = (root / owner / name, root / name)
    if wanted.file is None:
        yield from folders
        if (root / "config.json").is_file():
            yield root
        return
    base = wanted.file.rpartition("/")[2]
    for folder in (*folders, root):
        yield folder / wanted.file
        yield folder / base
    # How llama.cpp itself names what it downloads.
    yield root / f"{owner}_{name}_{base}"
    if root.name == base:
        yield root
