"""`tokenwire healthcheck`: the flags and exit statuses of grpc_health_probe.

It is started every few seconds by a probe, so it imports gRPC and nothing else of weight.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import grpc
from grpc_health.v1 import health_pb2

from .. import __version__
from ..channel import ChannelTls, open_blocking_channel

# https://github.com/grpc-ecosystem/grpc-health-probe, "Exit codes".
HEALTHY = 0
INVALID_ARGUMENTS = 1
CONNECTION_FAILURE = 2
RPC_FAILURE = 3
UNHEALTHY = 4

_DEFAULT_PORT = "50051"
_METHOD = "/grpc.health.v1.Health/Check"
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|us|µs|ns|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Ends as grpc_health_probe does: with 1, where argparse would say 2."""
        self.print_usage(sys.stderr)
        sys.stderr.write(f"error: {message}\n")
        raise SystemExit(INVALID_ARGUMENTS)


def main(arguments: Sequence[str]) -> int:
    """Checks one server and returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.version:
        sys.stdout.write(f"{__version__}\n")
        return HEALTHY
    options.addr = options.addr or _own_address(has_tls=options.tls)
    problem = _find_conflict(options)
    if problem:
        sys.stderr.write(f"error: {problem}\n")
        return INVALID_ARGUMENTS
    try:
        channel = _open(options)
    except OSError as error:
        sys.stderr.write(f"error: cannot read {error.filename}: {error.strerror}\n")
        return INVALID_ARGUMENTS
    with channel:
        return _check(channel, options)


def _check(channel: grpc.Channel, options: argparse.Namespace) -> int:
    try:
        grpc.channel_ready_future(channel).result(timeout=options.connect_timeout)
    except grpc.FutureTimeoutError:
        sys.stderr.write(
            f'timeout: failed to connect service "{options.addr}" '
            f"within {options.connect_timeout:g}s\n"
        )
        return CONNECTION_FAILURE
    check = channel.unary_unary(
        _METHOD,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(
            health_pb2.HealthCheckRequest(service=options.service),
            timeout=options.rpc_timeout,
            metadata=options.rpc_header,
        )
    except grpc.RpcError as error:
        sys.stderr.write(_explain(error, options))
        return RPC_FAILURE
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.stderr.write(f'service unhealthy (responded with "{status}")\n')
        return UNHEALTHY
    sys.stdout.write(f"status: {status}\n")
    return HEALTHY


def _explain(error: grpc.RpcError, options: argparse.Namespace) -> str:
    if not isinstance(error, grpc.Call):
        return f"error: health rpc failed: {error}\n"
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return (
            "error: this server does not implement the grpc health protocol "
            f"(grpc.health.v1.Health): {error.details()}\n"
        )
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"timeout: health rpc did not complete within {options.rpc_timeout:g}s\n"
    return f"error: health rpc failed: {error.code().name}: {error.details()}\n"


def _open(options: argparse.Namespace) -> grpc.Channel:
    channel_options: list[tuple[str, str | int]] = [("grpc.primary_user_agent", options.user_agent)]
    tls = None
    if options.tls:
        tls = ChannelTls(
            _read(options.tls_ca_cert),
            _read(options.tls_client_cert),
            _read(options.tls_client_key),
            options.tls_server_name,
        )
    compression = grpc.Compression.Gzip if options.gzip else None
    return open_blocking_channel(
        options.addr, tls, compression=compression, options=channel_options
    )


def _own_address(*, has_tls: bool) -> str:
    socket = os.environ.get("LLM_GRPC_SOCKET")
    if socket and not has_tls:  # a socket has none
        return f"unix:{socket}"
    return f"localhost:{os.environ.get('LLM_GRPC_PORT') or _DEFAULT_PORT}"


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _find_conflict(options: argparse.Namespace) -> str | None:
    tls_only = {
        "-tls-ca-cert": options.tls_ca_cert,
        "-tls-client-cert": options.tls_client_cert,
        "-tls-client-key": options.tls_client_key,
        "-tls-server-name": options.tls_server_name,
        "-tls-no-verify": options.tls_no_verify,
    }
    if not options.tls:
        given = [name for name, value in tls_only.items() if value]
        if given:
            return f"specified {given[0]} without specifying -tls"
    if bool(options.tls_client_cert) != bool(options.tls_client_key):
        return "specified one of -tls-client-cert and -tls-client-key without the other"
    if options.tls_no_verify:
        return "-tls-no-verify is not built in: give the server's certificate as -tls-ca-cert"
    if options.spiffe or options.alts:
        return "-spiffe and -alts are not built in"
    return None


def _duration(text: str) -> float:
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration such as 500ms, 1s or 1m30s")
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return float(seconds)


def _truth(text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form 'name: value'")
    return name.strip().lower(), value.strip()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tokenwire healthcheck",
        description="Checks a server's grpc.health.v1 service, with the flags and exit statuses "
        "of grpc_health_probe: 0 serving, 1 wrong flags, 2 no connection, 3 failed call, "
        "4 not serving.",
        allow_abbrev=False,
    )

    def text(name: str, default: str, help_text: str) -> None:
        parser.add_argument(f"-{name}", f"--{name}", default=default, help=help_text)

    def duration(name: str, help_text: str) -> None:
        parser.add_argument(
            f"-{name}", f"--{name}", type=_duration, default=1.0, metavar="DURATION", help=help_text
        )

    def flag(name: str, help_text: str) -> None:
        parser.add_argument(
            f"-{name}",
            f"--{name}",
            type=_truth,
            nargs="?",
            const=True,
            default=False,
            metavar="BOOL",
            help=help_text,
        )

    text(
        "addr", "", "host:port of the server (default: LLM_GRPC_SOCKET, or localhost and the port)"
    )
    text("service", "", "name to check: '', liveness, readiness or a model's id")
    duration("connect-timeout", "longest wait for a connection (default: 1s)")
    duration("rpc-timeout", "longest wait for the answer (default: 1s)")
    parser.add_argument(
        "-rpc-header",
        "--rpc-header",
        type=_header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="metadata to send; may be repeated",
    )
    text("user-agent", f"tokenwire-healthcheck/{__version__}", "user agent of the call")
    flag("gzip", "compress the call")
    flag("tls", "use TLS (default: plaintext)")
    text("tls-ca-cert", "", "file of the authorities to trust (default: those that gRPC brings)")
    text("tls-client-cert", "", "file of the client's certificate")
    text("tls-client-key", "", "file of the client's private key")
    text("tls-server-name", "", "name to expect in the server's certificate")
    flag("tls-no-verify", "not built in")
    flag("spiffe", "not built in")
    flag("alts", "not built in")
    flag("v", "accepted, without effect")
    flag("version", "print the version")
    return parser
