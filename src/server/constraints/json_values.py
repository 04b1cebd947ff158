"""Values of a JSON document, and places in it (RFC 6901)."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote

from .bad_constraint import BadConstraint

Json = Any  # what a JSON document holds


def as_object(value: Json) -> dict[str, Json]:
    """Returns an object as it is, and an empty one for all else."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """Returns a list as it is, and an empty one for all else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def join_pointer(place: str, *names: str) -> str:
    """Goes from a place on, by the names of keys or the indices of lists."""
    escaped = (name.replace("~", "~0").replace("/", "~1") for name in names)
    return "/".join((place, *escaped))


def find_target(document: Json, reference: Json, place: str) -> tuple[str, Json]:
    """Finds what the reference of the schema at `place` leads to, with its place.

    Raises:
        BadConstraint: it leads outside the document, or to nothing.
    """
    at = join_pointer(place, "$ref")
    if not isinstance(reference, str):
        raise BadConstraint("a reference is a text", at)
    if reference != "#" and not reference.startswith("#/"):
        raise BadConstraint("a reference stays in the document: it begins with #/", at)
    target: Json = document
    names = [
        unquote(name).replace("~1", "/").replace("~0", "~") for name in reference.split("/")[1:]
    ]
    for name in names:
        try:
            is_list = isinstance(target, list)
            target = as_list(target)[int(name)] if is_list else as_object(target)[name]
        except (IndexError, KeyError, ValueError):
            raise BadConstraint("leads to nothing", at) from None
    return join_pointer("", *names) if names else "", target
