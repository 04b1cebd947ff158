from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_UNLOADED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_SERVING: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_UNLOADED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_SERVING: ModelState
MODEL_STATE_FAILED: ModelState

class Model(_message.Message):
    __slots__ = ("id", "revision", "state", "progress", "progress_fraction", "failure", "engine", "device", "num_parameters", "format", "quantization", "kv_cache_dtype", "has_kv_cache_scales", "context_length", "max_output_tokens", "capabilities", "tool_parser", "reasoning_parser")
    ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FRACTION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    HAS_KV_CACHE_SCALES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    TOOL_PARSER_FIELD_NUMBER: _ClassVar[int]
    REASONING_PARSER_FIELD_NUMBER: _ClassVar[int]
    id: str
    revision: str
    state: ModelState
    progress: str
    progress_fraction: float
    failure: str
    engine: str
    device: str
    num_parameters: int
    format: str
    quantization: str
    kv_cache_dtype: str
    has_kv_cache_scales: bool
    context_length: int
    max_output_tokens: int
    capabilities: ModelCapabilities
    tool_parser: str
    reasoning_parser: str
    def __init__(self, id: _Optional[str] = ..., revision: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., progress: _Optional[str] = ..., progress_fraction: _Optional[float] = ..., failure: _Optional[str] = ..., engine: _Optional[str] = ..., device: _Optional[str] = ..., num_parameters: _Optional[int] = ..., format: _Optional[str] = ..., quantization: _Optional[str] = ..., kv_cache_dtype: _Optional[str] = ..., has_kv_cache_scales: _Optional[bool] = ..., context_length: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., capabilities: _Optional[_Union[ModelCapabilities, _Mapping]] = ..., tool_parser: _Optional[str] = ..., reasoning_parser: _Optional[str] = ...) -> None: ...

class ModelCapabilities(_message.Message):
    __slots__ = ("chat", "tools", "reasoning", "images", "fill_in_the_middle", "seeds", "token_ids", "constraints", "lora_adapters", "min_tokens", "stop_token_ids")
    CHAT_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FILL_IN_THE_MIDDLE_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    LORA_ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    chat: bool
    tools: bool
    reasoning: bool
    images: bool
    fill_in_the_middle: bool
    seeds: bool
    token_ids: bool
    constraints: _containers.RepeatedScalarFieldContainer[str]
    lora_adapters: _containers.RepeatedScalarFieldContainer[str]
    min_tokens: bool
    stop_token_ids: bool
    def __init__(self, chat: _Optional[bool] = ..., tools: _Optional[bool] = ..., reasoning: _Optional[bool] = ..., images: _Optional[bool] = ..., fill_in_the_middle: _Optional[bool] = ..., seeds: _Optional[bool] = ..., token_ids: _Optional[bool] = ..., constraints: _Optional[_Iterable[str]] = ..., lora_adapters: _Optional[_Iterable[str]] = ..., min_tokens: _Optional[bool] = ..., stop_token_ids: _Optional[bool] = ...) -> None: ...
