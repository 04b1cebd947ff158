"""`tokenwire serve`, `server` and `edge`: the processes of the service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
import uvloop

from ..addresses import LOCALHOST, Addresses
from ..edge.config import UNIX, EdgeConfig
from ..environment import (
    EXIT_CONFIGURATION,
    ConfigurationError,
    Settings,
    export_env_file,
    load,
    unknown_variables,
)
from ..garbage import spare_what_is_loaded
from ..lifecycle import EXIT_INTERRUPTED, end_with_parent, shutdown_signals
from ..listening import Listener, find_problem
from ..logs.standard_error import StandardError
from ..private_folders import DYING_S, sweep
from ..server.access.key_ring import read_keys
from ..server.preparation.engine_choice import inspect_machine
from ..server.preparation.kits import config_class
from ..server.settings.server_config import ServerConfig
from ..supervisor import ChildCommand, Supervisor
from ..tls.pem_files import Credentials, PemFiles
from ..variables import variables
from ..welcome import StatusLine, welcome
from .caller_settings import CallerSettings
from .decisions import decide_all, describe
from .metrics_port import MetricsPort, open_metrics_port
from .socket_between import find_problem_between, socket_between

_logger = structlog.get_logger(__name__)

# What a process may need beside its drain: closing ports and engines.
_STOP_MARGIN_S = 30.0
_STDIN = 0
_CANNOT_LISTEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)

SettingsT = TypeVar("SettingsT", bound=Settings)


def load_both() -> tuple[ServerConfig, EdgeConfig]:
    """Reads the configuration of front and edge.

    Raises:
        ConfigurationError: holds the mistakes of both.
    """
    problems: list[str] = []
    server = _load_or_collect(config_class(), problems)
    edge = _load_or_collect(EdgeConfig, problems)
    if server is None or edge is None:
        raise ConfigurationError(problems)
    return server, edge


def known_variables() -> list[str]:
    """Lists the name of every variable that some part of the service reads."""
    return [
        variable.name
        for settings in (config_class(), EdgeConfig, CallerSettings)
        for variable in variables(settings)
    ]


def warnings_of(config: Settings) -> list[str]:
    """Returns one sentence for everything that is set and does not do what one may think."""
    warnings = [*config.notices(), *unknown_variables(known_variables())]
    has_no_keys = isinstance(config, ServerConfig) and config.api_keys_file is None
    if has_no_keys and load(CallerSettings).api_key is not None:
        warnings.append(
            "LLM_API_KEY is set, but it is what a client calls with: "
            "without LLM_API_KEYS_FILE everyone may call"
        )
    return warnings


def run_server(*, ends_with_stdin: bool, metrics_fd: int | None = None) -> int:
    """Runs the gRPC server; returns the exit status.

    `metrics_fd` is a socket that listens for scrapes already.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    stderr = StandardError()
    export_env_file()
    config = load(config_class())
    stderr.log(config, _secrets(config))
    _log_notices(config)
    stop_s = config.drain_delay_s + config.drain_timeout_s + _STOP_MARGIN_S
    parent_ended = end_with_parent(_STDIN, stop_s) if ends_with_stdin else None
    from ..server.app import serve  # noqa: PLC0415 - after the mistakes are told

    metrics = None if metrics_fd is None else socket.socket(fileno=metrics_fd)
    return _run(serve(config, metrics, lambda: stderr.lines.num_dropped), parent_ended)


def run_edge(*, ends_with_stdin: bool) -> int:
    """Runs the HTTP edge; returns the exit status.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    stderr = StandardError()
    export_env_file()
    config = load(EdgeConfig)
    stderr.log(config)
    stop_s = config.drain_timeout_s + _STOP_MARGIN_S
    parent_ended = end_with_parent(_STDIN, stop_s) if ends_with_stdin else None
    if parent_ended is None:  # otherwise the server beside it tells them
        _log_notices(config)
    from ..edge.app import serve  # noqa: PLC0415 - after the mistakes are told

    return _run(serve(config, lambda: stderr.lines.num_dropped), parent_ended)


def run_both(*, has_welcome: bool) -> int:
    """Runs server and edge as children of this process; returns the exit status.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    stderr = StandardError()
    export_env_file()
    server, edge = load_both()
    # Before anything starts: a port that another service holds would answer in our place.
    problems = [problem for at in _listeners(server, edge) if (problem := find_problem(at))]
    if problem := find_problem_between(server):
        problems.append(problem)
    credentials = _load_pem_files(server.pem_files, problems)
    _load_pem_files(edge.target_pem_files if edge.grpc_target_tls else None, problems)
    _load_pem_files(server.collector_pem_files if server.is_tracing else None, problems)
    try:
        read_keys(server)
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    line = StatusLine(stderr.lines) if has_welcome else None
    stderr.log(server, _secrets(server), sink=line)
    with open_metrics_port(server, edge) as metrics, socket_between(server) as socket_path:
        addresses = _addresses(server, edge, credentials, socket_path)
        between = _Between(addresses, socket_path, metrics)
        return _run(_supervise(server, edge, between, line, stderr.lines.fd))


@dataclass(frozen=True, slots=True)
class _Between:
    """How front and edge meet, and where whoever started them reaches both."""

    addresses: Addresses
    socket: Path | None
    metrics: MetricsPort


def _addresses(
    server: ServerConfig, edge: EdgeConfig, credentials: Credentials | None, socket: Path | None
) -> Addresses:
    own_target = f"{UNIX}{socket}" if socket else ""
    if credentials is None:
        return Addresses(server.grpc_port, edge.port, own_target)
    names = [name for name in credentials.hostnames if not name.startswith("*")]
    is_own = credentials.is_self_signed
    return Addresses(
        server.grpc_port,
        edge.port,
        own_target,
        hostname=names[0] if names and LOCALHOST not in names else LOCALHOST,
        has_tls=True,
        authorities=server.tls_server_cert_path if is_own else edge.grpc_target_ca_path,
        has_client_certificates=server.tls_client_ca_path is not None,
    )


def _listeners(server: ServerConfig, edge: EdgeConfig) -> tuple[Listener, ...]:
    metrics = ("LLM_METRICS_HOSTNAME", server.metrics_hostname)
    return (
        server.grpc_listener,
        Listener(*metrics, "LLM_METRICS_PORT", server.metrics_port),
        Listener("LLM_INFERENCE_HOSTNAME", edge.hostname, "LLM_INFERENCE_PORT", edge.port),
    )


async def _supervise(
    server: ServerConfig,
    edge: EdgeConfig,
    between: _Between,
    line: StatusLine | None,
    stderr_fd: int,
) -> int:
    # Lines of children go through the status line only where there is one to protect.
    is_terminal = line is not None and line.is_terminal
    colours = {"FORCE_COLOR": "1"} if is_terminal else {}
    listen, call = dict(colours), colours | between.metrics.edge_environment
    if between.socket is not None:
        listen["LLM_GRPC_SOCKET"] = str(between.socket)
        if "grpc_target" not in edge.model_fields_set:
            target = f"{UNIX}{between.socket}"
            call |= {"LLM_GRPC_TARGET": target, "LLM_GRPC_TARGET_TLS": "false"}
    tokenwire = (sys.executable, "-P", "-m", "tokenwire")
    ends = ("--end-with-stdin",)
    server_stop_s = server.drain_delay_s + server.drain_timeout_s + _STOP_MARGIN_S
    edge_stop_s = edge.drain_timeout_s + _STOP_MARGIN_S
    commands = (
        ChildCommand(
            "server",
            (*tokenwire, "server", *ends, *between.metrics.server_arguments),
            server_stop_s,
            listen,
            pass_fds=between.metrics.server_fds,
        ),
        ChildCommand("edge", (*tokenwire, "edge", *ends), edge_stop_s, call),
    )
    with shutdown_signals() as shutdown:
        write_line = line.write_line if line is not None and is_terminal else None
        supervisor = Supervisor(commands, shutdown, write_line, stderr_fd=stderr_fd)
        async with asyncio.TaskGroup() as tasks:
            greeting = None
            if line is not None:
                engines = decide_all(server, inspect_machine())
                texts = {str(model): describe(decision) for model, decision in engines.items()}
                needs_key = server.api_keys_file is not None
                greeting = tasks.create_task(
                    welcome(line, between.addresses, texts, needs_key=needs_key)
                )
                tasks.create_task(_farewell(line, shutdown.draining, greeting))
            return await supervisor.run()


async def _farewell(
    line: StatusLine, draining: asyncio.Event, greeting: asyncio.Task[None]
) -> None:
    await draining.wait()
    greeting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await greeting
    line.clear()
    line.write("\nStopping: running requests finish first; Ctrl-C again ends them.\n")


def _load_or_collect(settings_class: type[SettingsT], problems: list[str]) -> SettingsT | None:
    try:
        return load(settings_class)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return None


def _load_pem_files(files: PemFiles | None, problems: list[str]) -> Credentials | None:
    try:
        return files.load() if files else None
    except ConfigurationError as error:
        problems.extend(error.problems)
        return None


def _log_notices(config: Settings) -> None:
    for notice in warnings_of(config):
        _logger.warning("variable_not_honoured", notice=notice)


def _secrets(config: ServerConfig) -> list[str]:
    return [config.hf_token.get_secret_value()] if config.hf_token else []


def _run(
    main: Coroutine[Any, Any, int | None],  # Any: nothing is sent or yielded
    parent_ended: threading.Event | None = None,
) -> int:
    sweep()
    spare_what_is_loaded()
    try:
        return uvloop.run(main) or 0
    except KeyboardInterrupt:  # before the signal handlers stood
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno not in _CANNOT_LISTEN:
            raise
        # Another start would fail the same way.
        sys.stderr.write(f"{error.strerror or error}\n")
        return EXIT_CONFIGURATION
    finally:
        # What the others left that were killed before this process came to its end.
        was_left = parent_ended is not None and parent_ended.is_set()
        sweep(patience_s=DYING_S if was_left else 0.0)
