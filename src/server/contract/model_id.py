"""The id of a model, as the configuration and every request name it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The hub's own rule for names: it also keeps an id from leaving the folder it is looked for in.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
_MAX_LENGTH = 512
GGUF_SUFFIX = ".gguf"
GGUF_FORM = "owner/repo:file.gguf"
PROJECTOR_FORM = "owner/repo:file.gguf+mmproj.gguf"


class InvalidModelId(ValueError):
    """A text is not the id of a model; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelId:
    """A repository, with the GGUF file and the tokenizer's repository where the id names them.

    `file` is a path inside the repository, with forward slashes; so is `projector`, the file of
    what makes a model of GGUF see (llama.cpp's `mmproj`).
    """

    repo: str
    file: str | None = None
    tokenizer_repo: str | None = None
    projector: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelId:
        """Reads `owner/repo`, `owner/repo:file.gguf` or `owner/repo:file.gguf@owner/tokenizer`.

        Behind `file.gguf` may stand `+mmproj.gguf`, a second file of the same repository.

        Raises:
            InvalidModelId: the text has none of these forms.
        """
        if len(text) > _MAX_LENGTH:
            raise InvalidModelId(f"a model id has at most {_MAX_LENGTH} characters")
        repo, colon, rest = text.partition(":")
        _check_repo(repo, text)
        if not colon:
            if repo.lower().endswith("-gguf"):
                raise InvalidModelId(
                    f"'{text}' is a repository of GGUF files: name one of them, as in {GGUF_FORM}"
                )
            return cls(repo)
        files, at, tokenizer_repo = rest.partition("@")
        file, plus, projector = files.partition("+")
        if not file.lower().endswith(GGUF_SUFFIX):
            raise InvalidModelId(
                f"'{text}' names no GGUF file behind the colon: the form is {GGUF_FORM}"
            )
        if plus and not projector.lower().endswith(GGUF_SUFFIX):
            raise InvalidModelId(
                f"'{text}' names no GGUF file behind the plus: the form is {PROJECTOR_FORM}"
            )
        parts = [*file.split("/"), *(projector.split("/") if plus else ())]
        if not all(_NAME.fullmatch(part) for part in parts):
            raise InvalidModelId(f"'{text}' names a file outside its repository")
        if at:
            _check_repo(tokenizer_repo, text)
        return cls(repo, file, tokenizer_repo or None, projector or None)

    @property
    def is_gguf(self) -> bool:
        """Whether the id names a GGUF file."""
        return self.file is not None

    def __str__(self) -> str:
        """Returns the id as `parse` reads it."""
        file = f":{self.file}" if self.file else ""
        tokenizer = f"@{self.tokenizer_repo}" if self.tokenizer_repo else ""
        projector = f"+{self.projector}" if self.projector else ""
        return f"{self.repo}{file}{projector}{tokenizer}"


DEFAULT_MODEL = ModelId("HuggingFaceTB/SmolLM2-135M-Instruct")


def _check_repo(repo: str, text: str) -> None:
    owner, _, name = repo.partition("/")
    if not (_NAME.fullmatch(owner) and _NAME.fullmatch(name)) or ".." in repo:
        raise InvalidModelId(
            f"'{text}' is not a model id: the forms are owner/repo, {GGUF_FORM} and "
            f"{GGUF_FORM}@owner/tokenizer-repo"
        )
