"""One answer on the terminal, as it comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..client import Event, Finished, ReasoningDelta, TextDelta, ToolCallDelta


class AnswerView:
    """The text as it comes, and below it the speed.

    Thinking and calls of tools are dim lines before and behind the text. Where the output is no
    terminal, they go to standard error, so that what is piped is the answer alone.
    """

    def __init__(self) -> None:
        self.text = ""
        self._out = Console(highlight=False, markup=False, soft_wrap=True)
        self._err = Console(highlight=False, markup=False, stderr=True)
        self._live = Live(console=self._out, transient=True, refresh_per_second=10)
        self._line = ""
        self._aside = ""
        self._num_deltas = 0
        self._started_s = time.monotonic()
        self._first_s: float | None = None

    def show(self, events: Iterable[Event]) -> None:
        """Writes the events of a stream out as they arrive."""
        finished: Finished | None = None
        if self._out.is_terminal:
            self._live.start()
        try:
            for event in events:
                match event:
                    case TextDelta():
                        self._end_aside()
                        self._write(event.text)
                    case ReasoningDelta():
                        self._write_aside(event.text)
                    case ToolCallDelta():
                        self._write_call(event)
                    case Finished():
                        finished = event
                    case _:
                        pass
                self._show_status()
        finally:
            self._end_aside()
            self._end_live()
        if not self._out.is_terminal:
            sys.stdout.write("\n")
            sys.stdout.flush()
        if finished is not None:
            self.close(self._summary(finished))

    def close(self, status: str) -> None:
        """Writes the last line, for people: it goes to standard error."""
        self._end_live()
        self._err.print(status, style="dim")

    def _write_call(self, delta: ToolCallDelta) -> None:
        if delta.name:  # its first part
            self._end_aside()
            self._write_aside(f"calls {delta.name} ")
        self._write_aside(delta.arguments)

    def _write_aside(self, text: str) -> None:
        """Adds to what is said beside the answer; whole lines of it are printed."""
        self._count()
        self._aside += text
        *whole, self._aside = self._aside.split("\n")
        for line in whole:
            self._print_aside(line)

    def _end_aside(self) -> None:
        if self._aside:
            self._print_aside(self._aside)
            self._aside = ""

    def _print_aside(self, line: str) -> None:
        if self._line:  # the text before it is not redrawn any more
            self._out.print(self._line)
            self._line = ""
        console = self._out if self._out.is_terminal else self._err
        console.print(line, style="dim", soft_wrap=True)

    def _count(self) -> None:
        self._num_deltas += 1
        if self._first_s is None:
            self._first_s = time.monotonic()

    def _write(self, text: str) -> None:
        if text:
            self._count()
        self.text += text
        if not self._out.is_terminal:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        # Only the last line changes in place: a terminal cannot redraw what has scrolled away.
        self._line += text
        *whole, self._line = self._line.split("\n")
        for line in whole:
            self._out.print(line)
        while len(self._line) > self._out.width:
            cut = self._line.rfind(" ", 0, self._out.width)
            head = self._line[: cut if cut > 0 else self._out.width]
            self._out.print(head)
            self._line = self._line[len(head) :].lstrip(" ")

    def _show_status(self) -> None:
        if not self._live.is_started:
            return
        elapsed_s = time.monotonic() - (self._first_s or self._started_s)
        # An engine sends a delta for nearly every token; the exact number comes at the end.
        num_tokens = self._num_deltas
        speed = f"{num_tokens / elapsed_s:.1f} tokens/s" if num_tokens and elapsed_s else ""
        line = Text(self._aside, "dim") if self._aside else Text(self._line)
        self._live.update(Text.assemble(line, "\n", (speed, "dim")))

    def _end_live(self) -> None:
        if self._live.is_started:
            self._live.stop()
            self._out.print(self._line)

    def _summary(self, finished: Finished) -> str:
        first_s = (self._first_s or time.monotonic()) - self._started_s
        usage, speed = finished.usage, finished.timings.tokens_per_second
        return (
            f"{usage.num_completion_tokens} tokens, {speed:.1f} tokens/s, "
            f"first after {first_s:.2f} s"
        )
