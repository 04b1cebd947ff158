"""A client of the service, with threads or with asyncio: `Client` and `AsyncClient`.

    from tokenwire.client import Client

    with Client("localhost:50051", model="owner/model") as client:
        for event in client.chat("Why is the sky blue?"):
            ...

It imports gRPC and the generated messages, nothing of the server.
"""

from ..channel import ChannelTls
from .answer import Answer, Choice, ToolCall
from .async_client import AsyncClient
from .async_stream import AsyncStream, AsyncToolLoop
from .attempts import RetryPolicy
from .client import Client
from .errors import (
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    InvalidRequest,
    ModelLoadFailed,
    PermissionDenied,
    QuotaExceeded,
    ServerError,
    StreamLost,
    TokenwireError,
    ToolLoopUnfinished,
    Unauthenticated,
    Unavailable,
    UnknownModel,
)
from .events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    Progress,
    PromptLogprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .messages import assistant, system, tool_result, user
from .stream import Stream, ToolLoop
from .tool_schema import tool_of
from .toolbox import ToolError

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "AsyncToolLoop",
    "Cancelled",
    "ChannelTls",
    "Choice",
    "ChoiceFinished",
    "Client",
    "DeadlineExceeded",
    "Event",
    "FieldViolation",
    "FinishReason",
    "Finished",
    "InvalidRequest",
    "ModelLoadFailed",
    "PermissionDenied",
    "Progress",
    "PromptLogprobs",
    "QuotaExceeded",
    "ReasoningDelta",
    "RetryPolicy",
    "ServerError",
    "Started",
    "Stream",
    "StreamLost",
    "TextDelta",
    "Timings",
    "TokenwireError",
    "ToolCall",
    "ToolCallDelta",
    "ToolError",
    "ToolLoop",
    "ToolLoopUnfinished",
    "ToolResult",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "Usage",
    "assistant",
    "system",
    "tool_of",
    "tool_result",
    "user",
]
