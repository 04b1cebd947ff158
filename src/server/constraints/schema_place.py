"""Where in a JSON Schema a mistake is that llguidance found without telling its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .json_schema import children
from .json_values import Json, as_object, join_pointer

_MAX_TRIES: Final = 200
_SHARED: Final = ("$defs", "definitions")


def find_place(document: Json, mistake: str, find_mistake: Callable[[Json], str]) -> str:
    """Returns the place of the innermost schema that has the mistake by itself.

    `find_mistake` says what is wrong with a schema that stands alone.
    """
    shared = {key: value for key, value in as_object(document).items() if key in _SHARED}
    num_tries = 0
    place = ""
    inner = [*children(document, place), *_definitions(shared)]
    while inner:
        child_place, child = inner.pop(0)
        num_tries += 1
        if num_tries > _MAX_TRIES:
            break
        if isinstance(child, dict) and find_mistake(shared | as_object(child)) == mistake:
            place = child_place
            inner = list(children(child, place))
    return place or "/"


def _definitions(shared: dict[str, Json]) -> list[tuple[str, Json]]:
    return [
        (join_pointer("", key, name), schema)
        for key, named in shared.items()
        for name, schema in as_object(named).items()
    ]
