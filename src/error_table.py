"""The table of failures: how each reason is answered, from the options of `ErrorReason`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor import EnumValueDescriptor

from .generated.tokenwire.v1 import errors_pb2, options_pb2

# What `google.rpc.ErrorInfo.domain` says of every failure of ours.
DOMAIN: Final = "tokenwire"
_PREFIX: Final = "ERROR_REASON_"


def _traits(value: EnumValueDescriptor) -> options_pb2.ErrorTraits:
    # Any: protoc types an extension as a plain descriptor, without its type.
    options: Any = value.GetOptions()
    traits: options_pb2.ErrorTraits = options.Extensions[options_pb2.error]
    return traits


# By reason, as `google.rpc.ErrorInfo.reason` names it. UNSPECIFIED is what nobody foresaw.
TRAITS: Final[Mapping[str, options_pb2.ErrorTraits]] = {
    value.name.removeprefix(_PREFIX): _traits(value)
    for value in errors_pb2.ErrorReason.DESCRIPTOR.values
}
