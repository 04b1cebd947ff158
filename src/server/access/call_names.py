"""What calls are named in the scopes of API keys."""

from __future__ import annotations

from typing import Final

METRICS: Final = "metrics"
REFLECTION: Final = "reflection"
SWAGGER: Final = "swagger"
ANY: Final = ""
"""No call of its own: every key in force is good for it."""

# Probes have no keys, and the other one answers who may do something else.
_OPEN = ("grpc.health.v1.Health", "tokenwire.v1.AccessService")
_REFLECTION = "grpc.reflection."
# What it streams are some of the metrics.
_LOAD_REPORTS = "xds.service.orca.v3.OpenRcaService"


def call_name_of(method: str) -> str | None:
    """Returns the name of a method's calls, None where everyone may make them.

    `method` is as gRPC has it: `/tokenwire.v1.InferenceService/Chat` is `Chat`.
    """
    _, service, name = method.split("/", 2)
    if service in _OPEN:
        return None
    if service == _LOAD_REPORTS:
        return METRICS
    return REFLECTION if service.startswith(_REFLECTION) else name
