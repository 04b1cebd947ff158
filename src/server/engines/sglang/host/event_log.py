"""How the host writes its own log events: a line each on standard error, which the front reads."""

from __future__ import annotations

import logging
from typing import Final

_OWN_FIELDS: Final = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}


class EventFormatter(logging.Formatter):
    """Puts the fields of an event (`extra`) behind its name, as in `left_out arguments=('a',)`."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Spells the first line, which a traceback may follow."""
        fields = vars(record).items()
        given = (f" {name}={value!r}" for name, value in fields if name not in _OWN_FIELDS)
        return super().formatMessage(record) + "".join(given)


def log_events() -> None:
    """Writes the events of this package apart from SGLang's, whose format has no place for fields.

    Call it once, in a process that nothing else has set up logging in.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter("%(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger(__name__.partition(".")[0])
    package.addHandler(handler)
    package.propagate = False
