"""What calls are named in scopes."""

from __future__ import annotations

import pytest
from tokenwire.server.access.call_names import call_name_of


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("/tokenwire.v1.InferenceService/Chat", "Chat"),
        ("/tokenwire.v1.InferenceService/ListModels", "ListModels"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "reflection"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflection"),
        ("/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics", "metrics"),
        ("/grpc.health.v1.Health/Watch", None),
        ("/tokenwire.v1.AccessService/CheckAccess", None),
        ("/grpc.health.v1.Health2/Watch", "Watch"),
        ("/another.Service/Health", "Health"),
    ],
)
def test_name_of_a_method(method: str, name: str | None) -> None:
    """The rpc's own; one name for reflection; none for what is open, and nothing else is."""
    assert call_name_of(method) == name
