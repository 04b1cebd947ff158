"""Starts SGLang in the host and serves the front with it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Final, NoReturn

from ....contract.load_progress import LoadProgress
from ..cpu import hide_gpu_packages, offer_kernel_stand_in
from ..frames import encode_frame, receive_frame
from ..isq.outcome import METHOD_NAMES, IsqFailed, IsqOutcome
from ..isq.request import request_isq
from ..messages import COMMANDS, Begin, LoadFailed, Loading, Message
from ..versions import MissingArgument, fit_arguments
from .event_log import log_events
from .extra_arguments import ExtraArgumentError, merge_arguments, parse_extra_arguments
from .signals import end_group, end_group_with, lead_own_group, raise_child_died

_logger = logging.getLogger(__name__)

# SGLang's, of a scheduler that was ended by SIGKILL while it loaded.
KILLED_WORDS: Final = "(exit code: -9)"

# Imports of sglang stand in functions here: the stand-in for its kernels must come first.


def serve(fd: int) -> NoReturn:
    """Loads the model that the front names and serves it until the front is gone."""
    front = socket.socket(fileno=fd)
    front.set_inheritable(False)
    log_events()
    lead_own_group()
    end_group_with(front)
    try:
        _load_and_serve(front)
    except Exception:
        _logger.exception("host_failed")
    finally:
        end_group()


def _load_and_serve(front: socket.socket) -> None:
    def send(message: Message) -> None:
        front.sendall(encode_frame([message]))

    begin = receive_frame(front, COMMANDS)[0]
    if not isinstance(begin, Begin):
        raise TypeError(f"the first word of the front is {type(begin).__name__}")
    try:
        engine = _start_engine(begin, lambda step: send(Loading(LoadProgress(step))))
    except (ExtraArgumentError, IsqFailed, MissingArgument) as error:
        send(LoadFailed(str(error)))
        return
    except Exception as error:
        _logger.exception("load_failed")
        words = f"{type(error).__name__}: {error}"
        send(LoadFailed("", words, was_killed=KILLED_WORDS in words))
        return
    from .host_server import HostServer  # noqa: PLC0415

    send(Loading(LoadProgress("answering a first request")))
    engine.loop.run_until_complete(HostServer(engine, begin).serve(front))


def _start_engine(begin: Begin, report: Callable[[str], None]) -> Any:  # SGLang has no types
    report("importing SGLang")
    if begin.on_cpu:
        hide_gpu_packages()
        offer_kernel_stand_in()
    from . import internals  # noqa: PLC0415

    names = internals.argument_names()
    given = parse_extra_arguments(internals.ServerArgs, begin.extra_args, names)
    fitted = fit_arguments(begin.server_args, names, internals.VERSION)
    if fitted.left_out:
        _logger.warning("arguments_left_out", extra={"arguments": fitted.left_out})
    isq = begin.weight_quantization if begin.weight_quantization in METHOD_NAMES else ""
    if isq:
        fitted.arguments["quantization"] = request_isq(isq)
    arguments = merge_arguments(fitted.arguments, given)
    if arguments.get("node_rank"):
        report(f"computing for machine 0 at {arguments['dist_init_addr']}")
    else:
        report("starting SGLang and reading the weights")
    engine = internals.Engine(**arguments, custom_sigquit_handler=raise_child_died)
    if isq:
        info = engine._scheduler_init_result.scheduler_infos[0]
        report(IsqOutcome.read(info, isq).sentence(isq))
    return engine
