"""Structured logs: one JSON object, or one readable line, an event."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Protocol

import orjson
import structlog

from .. import __version__
from .client_words import leave_out_client_words
from .redactor import Redactor
from .settings import LogFormat, LogSettings

_PACKAGE = __name__.partition(".")[0]
# One line a request is ours; these write one of their own for each.
_CHATTY = ("aiohttp.access", "httpx", "httpcore", "urllib3", "filelock", "fsspec")


class LogSink(Protocol):
    """Where log lines go."""

    def write(self, text: str, /) -> int:
        """Writes whole lines."""
        ...

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        ...


def configure_logging(settings: LogSettings, secrets: Iterable[str], sink: LogSink) -> None:
    """Sends every log event of this process, those of libraries included, to `sink`.

    Texts in `secrets` are hidden wherever they appear. Call it once, before the first event.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
    ]
    redact = Redactor(secrets)
    if settings.log_format is LogFormat.JSON:
        tail: list[structlog.typing.Processor] = [
            _ServiceName(settings.service_name),
            structlog.processors.format_exc_info,
            redact,
            _render_json,
        ]
    else:
        tail = [
            redact,
            structlog.dev.ConsoleRenderer(
                colors=sink.isatty() or bool(os.environ.get("FORCE_COLOR")),
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    handler = _SinkHandler(sink)
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
    # What libraries tell for their own developers may hold anything: messages, headers, bodies.
    root.setLevel(max(level, logging.INFO))
    logging.getLogger(_PACKAGE).setLevel(level)
    leave_out_client_words()
    for chatty in _CHATTY:
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


def format_event(level: int, event: str, **fields: object) -> str:
    """Spells an event as the root logger's handler would write it, for a line of its own."""
    record = _make_record(level, event, fields)
    return logging.getLogger().handlers[0].format(record) + "\n"


def _make_record(level: int, event: str, fields: Mapping[str, object]) -> logging.LogRecord:
    common = {"name": __name__, "levelno": level, "levelname": logging.getLevelName(level)}
    return logging.makeLogRecord({**common, "msg": event, **fields})


class _SinkHandler(logging.Handler):
    """Spells an event where it happens, for its context ends there, and hands the line over."""

    def __init__(self, sink: LogSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - an event that cannot be spelled harms nobody
            fields = {"of": record.name, "error": type(error).__name__}
            line = self.format(_make_record(logging.ERROR, "log_event_unreadable", fields))
        self._sink.write(line + "\n")


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


def _render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a half character, or a number over 64 bits
        return json.dumps(event, default=repr)
