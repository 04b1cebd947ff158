"""Which trace a call belongs to, as W3C Trace Context writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# https://www.w3.org/TR/trace-context/#traceparent-header: ff is no version, zeros are no ids, and
# a version above 00 may say more behind a dash.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span that others may hang under; all empty for none.

    `traceparent` is well-formed and of version 00. `tracestate` is what vendors add to it.
    """

    traceparent: str = ""
    tracestate: str = ""

    @classmethod
    def read(cls, traceparent: str, tracestate: str = "") -> TraceContext:
        """Takes over what is well-formed: `NO_TRACE` where `traceparent` is not."""
        match = _TRACEPARENT.fullmatch(traceparent)
        if match is None or (match["rest"] and match["version"] == "00"):
            return NO_TRACE
        is_state = _TRACESTATE.fullmatch(tracestate) is not None
        return cls(
            f"00-{match['trace']}-{match['span']}-{match['flags']}",
            tracestate if is_state else "",
        )

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, empty for no trace."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits, empty for no trace."""
        return self.traceparent[36:52]

    @property
    def is_sampled(self) -> bool:
        """Whether spans of this trace are recorded."""
        return bool(self.traceparent) and bool(int(self.traceparent[53:], 16) & _SAMPLED)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Returns the headers, or the metadata, that carry it on."""
        named = (("traceparent", self.traceparent), ("tracestate", self.tracestate))
        return tuple((name, value) for name, value in named if value)


NO_TRACE: Final = TraceContext()
