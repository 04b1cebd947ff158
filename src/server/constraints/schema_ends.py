"""Whether a JSON Schema that refers to itself ever comes to an end."""

from __future__ import annotations

from .json_values import Json, as_object, find_target, join_pointer


def find_endless(document: Json, schemas: dict[str, Json]) -> str | None:
    """Returns the place of a schema that no text of finite length fits; None: the document ends.

    `schemas` are all of the document, by their places. It ends where its first schema does: one
    that does not may stand where an answer can do without it.
    """
    ending: set[str] = set()
    # From the inside out: without references one round is enough.
    left = sorted(schemas, key=len, reverse=True)
    while True:
        found = [place for place in left if _ends(document, schemas, place, ending)]
        if not found:
            break
        left = [place for place in left if place not in ending]
    if "" in ending:
        return None
    # The innermost: what stands around it only waits for it.
    return left[0] or "/"


def _ends(document: Json, schemas: dict[str, Json], place: str, ending: set[str]) -> bool:
    if _needed_end(document, as_object(schemas[place]), place, ending):
        ending.add(place)
        return True
    return False


def _needed_end(document: Json, schema: dict[str, Json], place: str, ending: set[str]) -> bool:
    needed: list[str] = []
    if "$ref" in schema:
        needed.append(find_target(document, schema["$ref"], place)[0])
    needed += [join_pointer(place, "allOf", str(i)) for i in range(len(schema.get("allOf", ())))]
    # Of several types the others may be finite.
    if schema.get("type") in ("object", ["object"]):
        needed += [
            join_pointer(place, "properties", name)
            for name in schema.get("required", ())
            if name in schema.get("properties", ())
        ]
    elif schema.get("type") in ("array", ["array"]):
        num_items = int(schema.get("minItems", 0))
        num_first = min(num_items, len(schema.get("prefixItems", ())))
        needed += [join_pointer(place, "prefixItems", str(i)) for i in range(num_first)]
        if num_items > num_first and isinstance(schema.get("items"), dict):
            needed.append(join_pointer(place, "items"))
    if not ending.issuperset(needed):
        return False
    return all(
        any(join_pointer(place, key, str(i)) in ending for i in range(len(schema[key])))
        for key in ("anyOf", "oneOf")
        if schema.get(key)
    )
