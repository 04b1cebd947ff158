"""The OpenAPI document, as the package holds it."""

from __future__ import annotations

from typing import Any

import openapi_spec_validator
import tokenwire
from aiohttp import web
from tokenwire.edge.playground.routes import ASSETS_PATH

from .document import DOCUMENT, calls, examples_of, validate, validate_stream

# Parts of the pages, and the playground.
NOT_DOCUMENTED = {"/", "/swagger-ui/", "/swagger-ui/{name}"}


def test_the_document_is_valid() -> None:
    """It is OpenAPI 3.1, and of this version."""
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["version"] == tokenwire.__version__
    openapi_spec_validator.validate(DOCUMENT)


async def test_every_route_is_documented(scripted_edge: Any) -> None:
    """Document and router hold the same routes with the same methods."""
    app: web.Application = scripted_edge._runner.app
    registered = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}
    described = {
        route
        for route in registered
        if route[1] not in NOT_DOCUMENTED and not route[1].startswith(ASSETS_PATH)
    }
    assert described == documented


def test_errors_share_one_schema_and_streams_have_a_transcript() -> None:
    """Every error of a dialect is one schema; every stream shows how it looks."""
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            schemas = {
                content["schema"].get("$ref")
                for status, response in operation["responses"].items()
                if status != "200" and not path.startswith("/health")
                for content in response.get("content", {}).values()
            }
            assert len(schemas) <= 1
            stream = operation["responses"]["200"]["content"].get("text/event-stream")
            assert stream is None or stream["example"].startswith(("data: {", "id: "))


def test_failures_name_fields_as_their_callers_do() -> None:
    """A name of the proto is one below `/tokenwire` alone."""
    for path, item in DOCUMENT["paths"].items():
        answer = item.get("post", {}).get("responses", {}).get("400")
        if answer is None:
            continue
        example = answer["content"]["application/json"]["examples"]["INVALID_REQUEST"]["value"]
        of_the_proto = "sampling.temperature" in str(example)
        assert of_the_proto == path.startswith("/tokenwire/"), path
        if path.startswith("/v1/"):
            assert example["error"]["param"] == "temperature"


def test_examples_fit_their_schemas() -> None:
    """Every example of the document is valid under the schema that stands beside it."""
    num_examples = 0
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            contents = [r.get("content", {}) for r in operation["responses"].values()]
            contents.append(operation.get("requestBody", {}).get("content", {}))
            for content in contents:
                media = content.get("application/json", {})
                for example in examples_of(media).values():
                    validate(example, media["schema"])
                    num_examples += 1
                if stream := content.get("text/event-stream"):
                    num_examples += validate_stream(stream["example"], stream)
    assert num_examples > 50


def test_every_operation_that_is_posted_to_has_an_example() -> None:
    """Whoever opens an operation of the page can run it as it stands."""
    assert all(call.body for call in calls() if call.method == "post")


def test_fields_are_explained() -> None:
    """Each field of a request has a sentence."""
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("GenerateRequest", "ChatRequest", "Sampling", "ApiChatRequest"):
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description") or "items" in schema, f"{name}.{field}"
