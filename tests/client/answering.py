"""A client over a channel of grpcio-testing, whose calls a test answers by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc_testing
from tokenwire.client import Client
from tokenwire.generated.tokenwire.v1 import inference_pb2, tokenizer_pb2

from .answers import Status

GUARD_S = 45.0
INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
TOKENIZER = tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"]


@dataclass
class Call:
    """A call of the client, on the server's side of the channel."""

    metadata: dict[str, str]
    request: Any
    rpc: Any

    def send(self, *responses: Any) -> None:
        for response in responses:
            self.rpc.send_response(response)

    def end(self, *responses: Any) -> None:
        """Sends the last messages and ends the call well."""
        self.send(*responses)
        self.rpc.terminate((), grpc.StatusCode.OK, "")

    def fail(self, status: Status) -> None:
        self.rpc.terminate(status.trailing_metadata, status.code, status.details)

    def wait_cancelled(self) -> None:
        self.rpc.cancelled()


class Answering:
    """The channel, and a thread in which the client under test reads."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        time = grpc_testing.strict_real_time()
        self.channel = grpc_testing.channel([INFERENCE, TOKENIZER], time)

    def client(self, **options: Any) -> Client:
        options.setdefault("detach_timeout_s", 0)  # its tests are test_resume.py
        return Client(model="m", channel=self.channel, **options)

    def do(self, work: Callable[[], Any]) -> Future[Any]:
        """Runs what blocks in a thread of its own."""
        return self._threads.submit(work)

    def take(self, name: str = "Chat") -> Call:
        """Waits for the next call of a method."""
        methods = INFERENCE.methods_by_name
        metadata, request, rpc = self.channel.take_unary_stream(methods[name])
        return Call(_own(metadata), request, rpc)

    def take_unary(self, name: str) -> tuple[dict[str, str], Any, Any]:
        service = INFERENCE if name in INFERENCE.methods_by_name else TOKENIZER
        metadata, request, rpc = self.channel.take_unary_unary(service.methods_by_name[name])
        return _own(metadata), request, rpc


def _own(metadata: Any) -> dict[str, str]:
    """The metadata less what the channel adds in place of gRPC."""
    return {name: value for name, value in metadata or () if not name.startswith("grpc.")}


@contextmanager
def answering() -> Iterator[Answering]:
    with ThreadPoolExecutor(2) as threads:
        yield Answering(threads)
