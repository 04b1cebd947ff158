"""The services of the front, and their methods."""

from __future__ import annotations

from typing import Final

from grpc_health.v1 import health_pb2

from ...generated.tokenwire.v1 import access_pb2, inference_pb2, tokenizer_pb2
from ...generated.xds.service.orca.v3 import orca_pb2

INFERENCE: Final = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
TOKENIZER: Final = tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"]
ACCESS: Final = access_pb2.DESCRIPTOR.services_by_name["AccessService"]
HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"]
LOAD_REPORTS: Final = orca_pb2.DESCRIPTOR.services_by_name["OpenRcaService"]


def method_labels() -> list[tuple[str, str, str]]:
    """Names every method that calls are counted by: its kind, service and name."""
    return [
        ("server_stream" if method.server_streaming else "unary", service.full_name, method.name)
        for service in (INFERENCE, TOKENIZER, ACCESS, HEALTH, LOAD_REPORTS)
        for method in service.methods
    ]
