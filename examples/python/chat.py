"""Asks a model over gRPC and writes the answer as it streams.

Run it: python chat.py "What is the capital of France?"
"""

import argparse
import asyncio
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2
from tokenwire.generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub

SYSTEM_LINE = "You are a helpful assistant."


async def main() -> int:
    """Asks once; returns the exit status."""
    options = parse_options()
    async with open_channel(options) as channel:
        stub = InferenceServiceStub(channel)
        try:
            await chat(stub, options)
        except grpc.aio.AioRpcError as error:
            print(explain(error), file=sys.stderr)
            return 1
    return 0


def open_channel(options: argparse.Namespace) -> grpc.aio.Channel:
    """Opens a channel in plaintext, or in TLS where authorities to trust are given."""
    if options.ca is None:
        return grpc.aio.insecure_channel(options.target)
    credentials = grpc.ssl_channel_credentials(options.ca.read_bytes())
    return grpc.aio.secure_channel(options.target, credentials)


async def chat(stub: InferenceServiceStub, options: argparse.Namespace) -> None:
    """Streams one answer to standard output, and its numbers to standard error."""
    model = options.model or await first_model(stub)
    request = inference_pb2.ChatRequest(
        model=model,
        messages=[
            message(chat_pb2.ROLE_SYSTEM, SYSTEM_LINE),
            message(chat_pb2.ROLE_USER, options.message),
        ],
    )
    request.sampling.temperature = options.temperature
    num_characters = 0
    # The timeout travels with the call: the server stops generating when it has passed.
    call = stub.Chat(request, timeout=options.timeout)
    try:
        async for response in call:
            match response.WhichOneof("event"):
                case "deltas":
                    for delta in response.deltas.deltas:
                        print(delta.text.text, end="", flush=True)
                        num_characters += len(delta.text.text)
                case "finished":
                    usage = response.finished.usage
                    speed = response.finished.timings.tokens_per_second
                    print()
                    print(
                        f"{usage.num_prompt_tokens} + {usage.num_completion_tokens} tokens, "
                        f"{speed:.1f} tokens/s",
                        file=sys.stderr,
                    )
            if num_characters >= options.max_characters:
                print("\ncancelled", file=sys.stderr)
                return
    finally:
        call.cancel()  # without effect on a call that has ended


async def first_model(stub: InferenceServiceStub) -> str:
    """Returns the id of the first model that the server offers."""
    answer = await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=10)
    return answer.models[0].id


def message(role: chat_pb2.Role, text: str) -> chat_pb2.Message:
    """Makes a message of one text."""
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=text)])


def explain(error: grpc.aio.AioRpcError) -> str:
    """Tells a failure with its details: reason, fields, when to try again."""
    lines = [f"{error.code().name}: {error.details()}"]
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status_pb2.Status.FromString(packed).details:
        if detail.Unpack(info):
            lines.append(f"reason: {info.reason}")
        elif detail.Unpack(bad):
            lines += [f"field: {v.field}: {v.description}" for v in bad.field_violations]
        elif detail.Unpack(retry):
            lines.append(f"try again in {retry.retry_delay.seconds} s")
    return "\n".join(lines)


def parse_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("message")
    parser.add_argument("--target", default="localhost:50051")
    parser.add_argument("--ca", type=Path, help="PEM file: speaks TLS, and trusts these")
    parser.add_argument("--model", help="default: the first one")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds")
    parser.add_argument("--max-characters", type=int, default=sys.maxsize, help="then cancel")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:  # the call was cancelled on the way here
        sys.exit(130)
