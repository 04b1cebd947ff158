"""What every process of the service reads about its logs."""

from __future__ import annotations

import enum

from pydantic import field_validator

from ..environment import Settings, setting


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
