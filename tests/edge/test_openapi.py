"""The document and the page that shows it."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from tokenwire.edge.api.documentation import OPERATIONS
from tokenwire.edge.canonical.routes import bindings
from tokenwire.edge.openapi import build_document
from tokenwire.edge.pages import routes as pages
from tokenwire.edge.schemas import reference

# Parts of the page, and the way to it.
NOT_DOCUMENTED = {"/", "/swagger-ui/", "/swagger-ui/{name}"}


async def test_the_document_is_valid(scripted_http: aiohttp.ClientSession) -> None:
    """What is served is valid OpenAPI 3.1."""
    async with scripted_http.get("/api/openapi.json") as response:
        assert response.status == 200
        document = await response.json()
    assert document["openapi"].startswith("3.1")
    validate(document)


async def test_every_route_is_documented(scripted_edge: Any) -> None:
    """Document and router hold the same routes with the same methods."""
    app: web.Application = scripted_edge._runner.app
    registered = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {
        (method, path) for path, item in build_document()["paths"].items() for method in item
    }
    assert {route for route in registered if route[1] not in NOT_DOCUMENTED} == documented


def test_the_protos_own_routes_come_from_its_options() -> None:
    """The three rpcs are served where `google.api.http` says."""
    assert {(b.rpc.name, b.verb, b.path) for b in bindings()} == {
        ("Generate", "POST", "/tokenwire/v1/generate"),
        ("Chat", "POST", "/tokenwire/v1/chat"),
        ("ListModels", "GET", "/tokenwire/v1/models"),
    }


def test_errors_share_one_schema_and_streams_have_a_transcript() -> None:
    """Every error of a dialect is one schema; every stream shows how it looks."""
    for path, item in build_document()["paths"].items():
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
    document = build_document()
    num_examples = 0
    for item in document["paths"].values():
        for operation in item.values():
            contents = [r.get("content", {}) for r in operation["responses"].values()]
            contents.append(operation.get("requestBody", {}).get("content", {}))
            for content in contents:
                media = content.get("application/json", {})
                examples = [e["value"] for e in media.get("examples", {}).values()]
                examples += [media["example"]] if "example" in media else []
                schema = {**media.get("schema", {}), "components": document["components"]}
                for example in examples:
                    Draft202012Validator(schema).validate(example)
                    num_examples += 1
    assert num_examples > 50


async def test_real_answers_fit_their_schemas(http: aiohttp.ClientSession) -> None:
    """What the routes really answer is what the document says."""
    document = build_document()
    for operation in OPERATIONS:
        if operation.response is None:
            continue
        body = {**operation.request_example, "max_tokens": 2}
        async with http.post(operation.path, json=body) as response:
            assert response.status == 200
            answer = await response.json()
        schema = {**reference(operation.response), "components": document["components"]}
        Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize("path", ["/swagger-ui", "/swagger-ui/"])
async def test_the_page_needs_no_network(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """The page and all that it loads come from here, under a policy that allows nothing else."""
    async with scripted_http.get(path) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
    assert policy.startswith("default-src 'self'")
    assert "http" not in re.sub(r"<!--.*?-->", "", page)
    assert not re.search(r"<script(?![^>]*src=)", page), "no inline script"
    for link in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        async with scripted_http.get(link) as response:
            assert response.status == 200
            assert await response.read()
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_other_files_are_not_served(scripted_http: aiohttp.ClientSession) -> None:
    """Only the named files of the page are served."""
    for name in ("routes.py", "index.html", "..%2fapp.py"):
        async with scripted_http.get(f"/swagger-ui/{name}") as response:
            assert response.status == 404


async def test_the_root_leads_to_the_page(scripted_http: aiohttp.ClientSession) -> None:
    """A person who opens the bare address finds the page."""
    async with scripted_http.get("/", allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"] == "/swagger-ui"
    async with scripted_http.get("/metrics") as response:
        assert 'http_requests_total{method="GET",route="/",status="302"} 1.0' in (
            await response.text()
        )


def test_vendored_files_are_unchanged() -> None:
    """The files of swagger-ui-dist are those whose sums are written beside them."""
    folder = resources.files(pages.__package__)
    sums = (folder / "SHA256SUMS.txt").read_text().splitlines()[1:]
    assert len(sums) == 5
    for line in sums:
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
