"""The OpenAPI document as the package holds it, walked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from tokenwire.edge import pages

DOCUMENT: dict[str, Any] = json.loads(
    (resources.files(pages) / "openapi.json").read_text(encoding="utf-8")
)

RESUMED = "/api/streams/{request_id}"


@dataclass(frozen=True)
class Call:
    """One example of a request, as the document has it."""

    name: str
    method: str
    path: str
    body: Any
    responses: dict[str, Any]


def calls() -> Iterator[Call]:
    """Every operation with every example of its request; one without a body is one call."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            real_path = path
            if path == RESUMED:
                continue  # it needs a request that was begun: tests/edge/api/test_kept_streams.py
            for parameter in operation.get("parameters", ()):
                if parameter.get("in") == "path":
                    real_path = real_path.replace(f"{{{parameter['name']}}}", parameter["example"])
            named = operation["operationId"]
            content = operation.get("requestBody", {}).get("content", {})
            bodies = examples_of(content.get("application/json", {})) or {"": None}
            for name, body in bodies.items():
                yield Call(
                    f"{named} {name}".strip(), method, real_path, body, operation["responses"]
                )


def examples_of(media: dict[str, Any]) -> dict[str, Any]:
    """The examples of a media type by name; a single one has none."""
    examples = {name: example["value"] for name, example in media.get("examples", {}).items()}
    return examples | ({"": media["example"]} if "example" in media else {})


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Holds a value to a schema of the document."""
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def validate_stream(text: str, media: dict[str, Any]) -> int:
    """Holds every event of a stream to what the document says of it; returns their number."""
    blocks = text.split("\n\n")
    assert blocks.pop() == "", "the last event is cut off"
    data = [
        line.removeprefix("data: ")
        for block in blocks
        for line in block.split("\n")
        if not line.startswith((":", "id: "))
    ]
    for each in data:
        event = {"data": each}
        validate(event, media["schema"])
        written = media["schema"]["properties"]["data"]
        if each == "[DONE]":
            assert written["anyOf"][1] == {"const": "[DONE]"}
            assert each is data[-1]
        else:
            validate(json.loads(each), written.get("anyOf", [written])[0]["contentSchema"])
    return len(data)
