from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.rpc import code_pb2 as _code_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ERROR_FIELD_NUMBER: _ClassVar[int]
error: _descriptor.FieldDescriptor
PLANNED_VALUE_FIELD_NUMBER: _ClassVar[int]
planned_value: _descriptor.FieldDescriptor
PLANNED_FIELD_NUMBER: _ClassVar[int]
planned: _descriptor.FieldDescriptor

class ErrorTraits(_message.Message):
    __slots__ = ("grpc_code", "http_status", "api_http_status", "rest_code", "rest_prefix", "retry_after_s", "example_message", "example_metadata")
    class MetadataExample(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GRPC_CODE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    API_HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    REST_CODE_FIELD_NUMBER: _ClassVar[int]
    REST_PREFIX_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_METADATA_FIELD_NUMBER: _ClassVar[int]
    grpc_code: _code_pb2.Code
    http_status: int
    api_http_status: int
    rest_code: str
    rest_prefix: str
    retry_after_s: int
    example_message: str
    example_metadata: _containers.RepeatedCompositeFieldContainer[ErrorTraits.MetadataExample]
    def __init__(self, grpc_code: _Optional[_Union[_code_pb2.Code, str]] = ..., http_status: _Optional[int] = ..., api_http_status: _Optional[int] = ..., rest_code: _Optional[str] = ..., rest_prefix: _Optional[str] = ..., retry_after_s: _Optional[int] = ..., example_message: _Optional[str] = ..., example_metadata: _Optional[_Iterable[_Union[ErrorTraits.MetadataExample, _Mapping]]] = ...) -> None: ...
