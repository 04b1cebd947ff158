"""What the client of one stream saw, and what a history of it may not have."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class End(enum.Enum):
    """How one call ended for its client."""

    FINISHED = "finished"
    FAILED = "failed"
    """The service said so, with a reason."""
    CUT = "cut"
    """The connection broke: nobody said anything."""
    LEFT = "left"
    """The client went."""
    SILENT = "silent"
    """The stream ended whole, without a last event."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a call: what it said, and the position that it told, where it has one."""

    kind: str
    text: str = ""
    position: int | None = None


@dataclass(slots=True)
class Call:
    """One call for a stream: its messages, and its end, with the reason of a failure.

    `after` is the position behind which the client asked to go on. `was_cut` tells that this
    client's connection, or what served it, was really broken.
    """

    after: int = 0
    messages: list[Message] = field(default_factory=list[Message])
    ends: list[End] = field(default_factory=list[End])
    reason: str = ""
    num_tokens: int | None = None
    """What `Finished` counted."""
    last_id: str = ""
    """Of the last event that had one, over SSE."""
    was_cut: bool = False

    @property
    def end(self) -> End | None:
        return self.ends[-1] if self.ends else None


@dataclass(slots=True)
class History:
    """All calls for one stream, in order; `whole` is the text that an undisturbed run says."""

    name: str
    whole: str
    num_tokens: int | None = None
    """Of the whole answer; None: not known."""
    calls: list[Call] = field(default_factory=list[Call])

    @property
    def text(self) -> str:
        return "".join(message.text for call in self.calls for message in call.messages)

    @property
    def end(self) -> End | None:
        return self.calls[-1].end if self.calls else None

    @property
    def reason(self) -> str:
        return self.calls[-1].reason if self.calls else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a history."""

    kind: str
    """`lost` and `doubled` text, `other` text, `end`, `position`, `count`."""
    name: str
    detail: str


def check(history: History) -> list[Finding]:
    """Returns what is wrong: nothing, where each promise was kept."""

    def found(kind: str, detail: str) -> Finding:
        return Finding(kind, history.name, detail)

    findings = [found("end", detail) for call in history.calls for detail in _ends(call)]
    for earlier in history.calls[:-1]:
        if earlier.end in (End.FINISHED, End.FAILED):
            findings.append(found("end", f"another call behind an end: {earlier.end.value}"))
    if not history.calls:
        findings.append(found("end", "no call"))
    findings += [found("position", detail) for detail in _positions(history)]
    kind = _compare(history)
    if kind:
        findings.append(found(kind, f"{_around(history)}; {history.end}"))
    last = history.calls[-1] if history.calls else Call()
    counts = (last.num_tokens, history.num_tokens)
    if last.end is End.FINISHED and None not in counts and counts[0] != counts[1]:
        findings.append(found("count", f"{counts[0]} tokens, not {counts[1]}"))
    return findings


def _ends(call: Call) -> list[str]:
    if len(call.ends) != 1:
        return [f"{len(call.ends)} last events: {[end.value for end in call.ends]}"]
    if call.end is End.SILENT:
        return ["the stream ended without a last event"]
    if call.end is End.CUT and not call.was_cut:
        return [f"the connection broke and nobody broke it: {call.reason}"]
    if call.end is End.FAILED and not call.reason:
        return ["a failure without a reason"]
    kinds = [message.kind for message in call.messages]
    if "finished" in kinds[:-1]:
        return ["something behind the last event"]
    if kinds.count("started") > 1:
        return ["started twice"]
    return []


def _positions(history: History) -> list[str]:
    """Text has a position above all before it, also where the stream was taken up again."""
    wrong, highest = list[str](), 0
    for call in history.calls:
        in_call = 0
        for message in call.messages:
            if message.position is None:
                continue
            if message.position < in_call:
                wrong.append(f"{message.position} behind {in_call}")
            if message.kind == "deltas" and message.position <= highest:
                wrong.append(f"text at {message.position}, which was told up to {highest}")
            in_call = message.position
            if message.kind == "deltas":
                highest = message.position
    return wrong


def _compare(history: History) -> str:
    """Returns `lost`, `doubled` or `other` where the text is not the whole one's beginning."""
    told, whole = history.text, history.whole
    is_whole = history.end is End.FINISHED
    if told == whole or (not is_whole and whole.startswith(told)):
        return ""
    if is_whole and whole.startswith(told):
        return "lost"
    at = common_length(told, whole)
    for length in range(1, len(told) - at + 1):
        # What follows was said before, and then it goes on: a part came twice.
        if at >= length and told[at : at + length] == told[at - length : at]:
            rest = told[at + length :]
            if whole.startswith(rest, at) or not rest:
                return "doubled"
    rest = told[at:]
    if len(rest) >= 2 and whole.find(rest, at) > at:
        return "lost"
    return "other"


def _around(history: History) -> str:
    at = common_length(history.text, history.whole)
    told, whole = history.text[max(0, at - 12) : at + 24], history.whole[max(0, at - 12) : at + 24]
    return f"at {at} it said {told!r}, not {whole!r}"


def common_length(one: str, other: str) -> int:
    """Returns how many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
