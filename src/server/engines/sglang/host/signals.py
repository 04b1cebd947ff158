"""How the host ends: alone, by a child's death, or with its front."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from types import FrameType
from typing import NoReturn

from ..leftovers import remove_own


class ChildDied(RuntimeError):
    """A process of SGLang died while the model was being loaded."""


def raise_child_died(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """Handles the SIGQUIT that SGLang's children send while the model loads.

    It must raise: with a handler that returns, SGLang's constructor can wait for ever. And it must
    be importable, because SGLang pickles it into its children.
    """
    raise ChildDied("a process of the engine died while the model was being loaded")


def lead_own_group() -> None:
    """Makes this process the leader of its group, so that ending the group ends nobody else."""
    if os.getpgrp() != os.getpid():
        with contextlib.suppress(PermissionError):  # the leader of a session leads its group
            os.setpgid(0, 0)


def end_group() -> NoReturn:
    """Kills this process and every process of SGLang, and leaves no files of theirs."""
    with contextlib.suppress(OSError):
        remove_own()
    os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)  # unreachable unless the signal is late


def end_group_with(peer: socket.socket) -> None:
    """Ends the group as soon as the other end of `peer` is closed, by death or by will.

    A thread of its own, because SGLang blocks the main one for as long as a model loads.
    """

    def watch() -> None:
        poll = select.poll()
        poll.register(peer.fileno(), select.POLLRDHUP)
        while not poll.poll():  # no timeout: ends with the front
            pass
        end_group()

    threading.Thread(target=watch, name="front-watch", daemon=True).start()
