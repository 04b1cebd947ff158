"""What a library logs of a client's doing, with words of his in it: it stays out."""

from __future__ import annotations

import logging
from typing import Final

_GRPC: Final = "grpc._cython.cygrpc"
# Of metadata that is not UTF-8, which stands behind it: an error with its stack, four times a call.
_BAD_METADATA: Final = "Invalid encoding on"


class _WithoutMetadata(logging.Filter):
    """Drops what gRPC's Python part says of metadata; the call is served, and has its own line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is one of ours to tell."""
        return not str(record.msg).startswith(_BAD_METADATA)


def leave_out_client_words() -> None:
    """Has the libraries' own loggers leave them out. Repeatable."""
    logging.getLogger(_GRPC).filters[:] = [_WithoutMetadata()]
