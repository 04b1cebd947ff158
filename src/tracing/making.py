"""Whether a process makes spans at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..environment import ConfigurationError
from .settings import TracingSettings

if TYPE_CHECKING:
    from .tracer import Tracer


def make_tracer(settings: TracingSettings, service_name: str, process: str) -> Tracer | None:
    """Makes what traces a process, None where nobody asked for traces.

    `process` says which one of the service it is.

    Raises:
        ConfigurationError: OpenTelemetry cannot use a variable that it reads by itself, or a file
            of TLS cannot be used.
    """
    if not settings.is_tracing:
        return None
    try:
        # A start without traces does without these libraries, which read variables when they are
        # imported.
        from .tracer import Tracer  # noqa: PLC0415

        return Tracer(settings, service_name, process)
    except (ValueError, RuntimeError, OSError) as error:
        raise ConfigurationError([f"OTEL: {error}"]) from error
