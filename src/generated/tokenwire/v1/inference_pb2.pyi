import datetime

from ...buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from ...tokenwire.v1 import chat_pb2 as _chat_pb2
from ...tokenwire.v1 import events_pb2 as _events_pb2
from ...tokenwire.v1 import models_pb2 as _models_pb2
from ...tokenwire.v1 import options_pb2 as _options_pb2
from ...tokenwire.v1 import sampling_pb2 as _sampling_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GenerateRequest(_message.Message):
    __slots__ = ("model", "text", "token_ids", "suffix", "as_instruction", "sampling", "constraint", "delivery", "progress", "return_token_ids", "lora_adapter", "priority", "cache_salt", "time_limit", "detach_timeout", "resume", "max_queue_wait")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    AS_INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RETURN_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LORA_ADAPTER_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    DETACH_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    token_ids: TokenIds
    suffix: str
    as_instruction: bool
    sampling: _sampling_pb2.Sampling
    constraint: _sampling_pb2.Constraint
    delivery: _events_pb2.Delivery
    progress: bool
    return_token_ids: bool
    lora_adapter: str
    priority: int
    cache_salt: str
    time_limit: _duration_pb2.Duration
    detach_timeout: _duration_pb2.Duration
    resume: Resume
    max_queue_wait: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., token_ids: _Optional[_Union[TokenIds, _Mapping]] = ..., suffix: _Optional[str] = ..., as_instruction: _Optional[bool] = ..., sampling: _Optional[_Union[_sampling_pb2.Sampling, _Mapping]] = ..., constraint: _Optional[_Union[_sampling_pb2.Constraint, _Mapping]] = ..., delivery: _Optional[_Union[_events_pb2.Delivery, str]] = ..., progress: _Optional[bool] = ..., return_token_ids: _Optional[bool] = ..., lora_adapter: _Optional[str] = ..., priority: _Optional[int] = ..., cache_salt: _Optional[str] = ..., time_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., detach_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., max_queue_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("model", "messages", "tools", "tool_choice", "reasoning", "template_arguments", "sampling", "constraint", "delivery", "progress", "return_token_ids", "lora_adapter", "priority", "cache_salt", "time_limit", "detach_timeout", "resume", "max_queue_wait")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RETURN_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LORA_ADAPTER_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    DETACH_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_chat_pb2.Message]
    tools: _containers.RepeatedCompositeFieldContainer[_chat_pb2.Tool]
    tool_choice: _chat_pb2.ToolChoice
    reasoning: _chat_pb2.Reasoning
    template_arguments: _chat_pb2.TemplateArguments
    sampling: _sampling_pb2.Sampling
    constraint: _sampling_pb2.Constraint
    delivery: _events_pb2.Delivery
    progress: bool
    return_token_ids: bool
    lora_adapter: str
    priority: int
    cache_salt: str
    time_limit: _duration_pb2.Duration
    detach_timeout: _duration_pb2.Duration
    resume: Resume
    max_queue_wait: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_chat_pb2.Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[_chat_pb2.Tool, _Mapping]]] = ..., tool_choice: _Optional[_Union[_chat_pb2.ToolChoice, _Mapping]] = ..., reasoning: _Optional[_Union[_chat_pb2.Reasoning, _Mapping]] = ..., template_arguments: _Optional[_Union[_chat_pb2.TemplateArguments, _Mapping]] = ..., sampling: _Optional[_Union[_sampling_pb2.Sampling, _Mapping]] = ..., constraint: _Optional[_Union[_sampling_pb2.Constraint, _Mapping]] = ..., delivery: _Optional[_Union[_events_pb2.Delivery, str]] = ..., progress: _Optional[bool] = ..., return_token_ids: _Optional[bool] = ..., lora_adapter: _Optional[str] = ..., priority: _Optional[int] = ..., cache_salt: _Optional[str] = ..., time_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., detach_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., max_queue_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TokenIds(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("request_id", "after_position")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_POSITION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    after_position: int
    def __init__(self, request_id: _Optional[str] = ..., after_position: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("progress", "started", "deltas", "finished", "position")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    progress: _events_pb2.Progress
    started: _events_pb2.Started
    deltas: _events_pb2.Deltas
    finished: _events_pb2.Finished
    position: int
    def __init__(self, progress: _Optional[_Union[_events_pb2.Progress, _Mapping]] = ..., started: _Optional[_Union[_events_pb2.Started, _Mapping]] = ..., deltas: _Optional[_Union[_events_pb2.Deltas, _Mapping]] = ..., finished: _Optional[_Union[_events_pb2.Finished, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("progress", "started", "deltas", "finished", "position")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    progress: _events_pb2.Progress
    started: _events_pb2.Started
    deltas: _events_pb2.Deltas
    finished: _events_pb2.Finished
    position: int
    def __init__(self, progress: _Optional[_Union[_events_pb2.Progress, _Mapping]] = ..., started: _Optional[_Union[_events_pb2.Started, _Mapping]] = ..., deltas: _Optional[_Union[_events_pb2.Deltas, _Mapping]] = ..., finished: _Optional[_Union[_events_pb2.Finished, _Mapping]] = ..., position: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_models_pb2.Model]
    def __init__(self, models: _Optional[_Iterable[_Union[_models_pb2.Model, _Mapping]]] = ...) -> None: ...
