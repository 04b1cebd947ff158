from ...tokenwire.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_CONTEXT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_MODEL: _ClassVar[ErrorReason]
    ERROR_REASON_AT_CAPACITY: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_TIMEOUT: _ClassVar[ErrorReason]
    ERROR_REASON_GPU_PRESSURE: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_LOADING: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_LOAD_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_ENGINE_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_QUOTA_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_UNREACHABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_RESUME_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_GENERATION_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_PERMISSION_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_METHOD_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_BODY_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_MEDIA_TYPE: _ClassVar[ErrorReason]
    ERROR_REASON_HEADERS_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_CLIENT_TIMEOUT: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_REQUEST: ErrorReason
ERROR_REASON_CONTEXT_TOO_LONG: ErrorReason
ERROR_REASON_UNSUPPORTED_MODEL: ErrorReason
ERROR_REASON_AT_CAPACITY: ErrorReason
ERROR_REASON_QUEUE_TIMEOUT: ErrorReason
ERROR_REASON_GPU_PRESSURE: ErrorReason
ERROR_REASON_MODEL_LOADING: ErrorReason
ERROR_REASON_MODEL_LOAD_FAILED: ErrorReason
ERROR_REASON_ENGINE_LOST: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_QUOTA_EXCEEDED: ErrorReason
ERROR_REASON_DEADLINE_UNREACHABLE: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_RESUME_EXPIRED: ErrorReason
ERROR_REASON_GENERATION_FAILED: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_PERMISSION_DENIED: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_METHOD_NOT_ALLOWED: ErrorReason
ERROR_REASON_BODY_TOO_LARGE: ErrorReason
ERROR_REASON_UNSUPPORTED_MEDIA_TYPE: ErrorReason
ERROR_REASON_HEADERS_TOO_LARGE: ErrorReason
ERROR_REASON_CLIENT_TIMEOUT: ErrorReason
