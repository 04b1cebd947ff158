"""The proto's own routes."""

from __future__ import annotations

from tokenwire.edge.canonical.routes import bindings


def test_the_protos_own_routes_come_from_its_options() -> None:
    """The three rpcs are served where `google.api.http` says."""
    assert {(b.rpc.name, b.verb, b.path) for b in bindings()} == {
        ("Generate", "POST", "/tokenwire/v1/generate"),
        ("Chat", "POST", "/tokenwire/v1/chat"),
        ("ListModels", "GET", "/tokenwire/v1/models"),
    }
