"""Structured logs on standard error: one JSON object, or one readable line, an event."""

from __future__ import annotations

import enum
import logging
import os
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Protocol

import structlog
from pydantic import field_validator

from . import __version__
from .environment import Settings, setting

HIDDEN = "(hidden)"
_SECRET_KEY = re.compile(r"(?i)token$|secret|password|authorization|api_key|cookie")
_SECRET_TEXT = re.compile(r"\bhf_[A-Za-z0-9]{8,}\b|(?i:(?<=bearer )\S+)")


class LogFormat(enum.Enum):
    """How a log line is written."""

    JSON = "json"
    PRETTY = "pretty"


class LogLevel(enum.Enum):
    """The least important events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogStream(Protocol):
    """Where log lines go."""

    def write(self, text: str, /) -> int:
        """Writes whole lines."""
        ...

    def flush(self) -> None:
        """Writes out what is buffered."""
        ...

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        ...


class LogSettings(Settings):
    """What every process of the service reads about its logs."""

    service_name: str = setting(
        "SERVICE_NAME", "llm-inference-api", description="Name of the service in logs and telemetry"
    )
    log_format: LogFormat = setting(
        "LOG_FORMAT", LogFormat.JSON, description="How log lines are written"
    )
    log_level: LogLevel = setting(
        "LOG_LEVEL", LogLevel.INFO, description="The least important events that are logged"
    )

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value


def configure_logging(
    settings: LogSettings, secrets: Iterable[str] = (), stream: LogStream | None = None
) -> None:
    """Sends every log event of this process, those of libraries included, to `stream`.

    That is standard error where none is given. Texts in `secrets` are hidden wherever they appear.
    Call it once, before the first event.
    """
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
    ]
    redact = _Redactor(secrets)
    if settings.log_format is LogFormat.JSON:
        tail: list[structlog.typing.Processor] = [
            _ServiceName(settings.service_name),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ]
    else:
        tail = [
            redact,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty() or bool(os.environ.get("FORCE_COLOR")),
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            # Libraries, and the engines' side, log through the standard library, fields in `extra`.
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    level = getattr(logging, settings.log_level.name)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line a request is ours; these write one of their own for each.
    for chatty in ("aiohttp.access", "httpx", "httpcore", "urllib3", "filelock", "fsspec"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _ServiceName:
    """Adds the names that log collectors group by."""

    def __init__(self, service_name: str) -> None:
        self._service_name = service_name

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service.name"] = self._service_name
        event["service.version"] = __version__
        return event


class _Redactor:
    """Hides values whose name or form says that they are secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = [re.escape(secret) for secret in secrets if secret]
        self._text = re.compile("|".join([_SECRET_TEXT.pattern, *known]))

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if _SECRET_KEY.search(key) and value:
                event[key] = HIDDEN
            elif isinstance(value, str):
                event[key] = self._text.sub(HIDDEN, value)
        return event
