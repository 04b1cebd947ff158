"""The OpenAPI document, as the package holds it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import aiohttp
import tokenwire
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from tokenwire.edge import pages

# Parts of the page, and the way to it.
NOT_DOCUMENTED = {"/", "/swagger-ui/", "/swagger-ui/{name}"}
DOCUMENT: dict[str, Any] = json.loads(
    (resources.files(pages) / "openapi.json").read_text(encoding="utf-8")
)


def test_the_document_is_valid() -> None:
    """It is OpenAPI 3.1, and of this version."""
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["version"] == tokenwire.__version__
    validate(DOCUMENT)


async def test_every_route_is_documented(scripted_edge: Any) -> None:
    """Document and router hold the same routes with the same methods."""
    app: web.Application = scripted_edge._runner.app
    registered = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert {route for route in registered if route[1] not in NOT_DOCUMENTED} == documented


def test_errors_share_one_schema_and_streams_have_a_transcript() -> None:
    """Every error of a dialect is one schema; every stream shows how it looks."""
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            schemas = {
                content["schema"].get("$ref")
                for status, response in operation["responses"].items()
                if status != "200" and not path.startswith("/health")
                for content in response["content"].values()
            }
            assert len(schemas) <= 1
            stream = operation["responses"]["200"]["content"].get("text/event-stream")
            assert stream is None or stream["example"].startswith("data: {")


def test_examples_fit_their_schemas() -> None:
    """Every JSON example of the document is valid under the schema that stands beside it."""
    num_examples = 0
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            contents = [r.get("content", {}) for r in operation["responses"].values()]
            contents.append(operation.get("requestBody", {}).get("content", {}))
            for content in contents:
                media = content.get("application/json", {})
                examples = [e["value"] for e in media.get("examples", {}).values()]
                examples += [media["example"]] if "example" in media else []
                schema = {**media.get("schema", {}), "components": DOCUMENT["components"]}
                for example in examples:
                    Draft202012Validator(schema).validate(example)
                    num_examples += 1
    assert num_examples > 50


async def test_real_answers_fit_their_schemas(http: aiohttp.ClientSession) -> None:
    """What the routes really answer is what the document says."""
    num_answers = 0
    for path, item in DOCUMENT["paths"].items():
        if not path.startswith("/api/") or "post" not in item:
            continue
        answered = item["post"]["responses"]["200"]["content"].get("application/json")
        if answered is None:
            continue  # a stream
        request = item["post"]["requestBody"]["content"]["application/json"]["example"]
        async with http.post(path, json={**request, "max_tokens": 2}) as response:
            assert response.status == 200
            answer = await response.json()
        schema = {**answered["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(answer)
        num_answers += 1
    assert num_answers == 3
