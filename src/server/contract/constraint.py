"""The shape that an answer is forced into, as callers ask for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class ConstraintKind(enum.Enum):
    """What a constraint is written in; the value is its field in `tokenwire.v1.Constraint`."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    REGEX = "regex"
    EBNF = "ebnf"
    CHOICE = "choice"


ALL_KINDS: Final = tuple(kind.value for kind in ConstraintKind)
"""What an engine can do that takes any grammar."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One shape. `texts` are the document, expression or grammar, or all the choices."""

    kind: ConstraintKind
    texts: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """Names it in errors."""
        return f"constraint.{self.kind.value}"
