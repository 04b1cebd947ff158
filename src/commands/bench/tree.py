"""`tokenwire bench`: its options, as `--help` shows them."""

from __future__ import annotations

# As in the tree of the commands: what a command needs is imported when it runs.
# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated, Literal

import typer

bench_app = typer.Typer(invoke_without_command=True, no_args_is_help=False)

_LOAD = "Load"
_WORK = "Work"
_SERVER = "Server"
_OUTPUT = "Output"
_EPILOG = (
    "TTFT, end to end and send delay count from when a request was due: with --rate by the "
    "schedule, so that nothing hides behind a request that had to wait (no coordinated omission). "
    "ITL is the wait between two messages with output in them; TPOT, one for each request, the "
    "time from its first output to its last by its output tokens less one. Ctrl-C ends a "
    "measurement, and what is whole by then is reported."
)


@bench_app.callback(epilog=_EPILOG)
def bench(
    context: typer.Context,
    *,
    face: Annotated[
        Literal["grpc", "rest", "openai"] | None,
        typer.Option(
            help="Door to knock at: our gRPC, our /api, or /v1 of any OpenAI server (vLLM, SGLang, "
            "llama.cpp). Default: openai where --target is an http address, else grpc.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="host:port of gRPC, or the http address of the other doors. Default: the server "
            "that the variables configure, here.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Id of the model. Default: the first that serves.", rich_help_panel=_SERVER
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="API key to call with. Default: LLM_API_KEY, which no list of processes shows.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls",
            help="Use TLS on gRPC. Default: LLM_GRPC_TARGET_TLS.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    tls_ca_cert: Annotated[
        Path | None,
        typer.Option(help="PEM file of the authorities to trust.", rich_help_panel=_SERVER),
    ] = None,
    tls_client_cert: Annotated[
        Path | None,
        typer.Option(help="PEM file of a certificate to show.", rich_help_panel=_SERVER),
    ] = None,
    tls_client_key: Annotated[
        Path | None,
        typer.Option(help="PEM file of that certificate's key.", rich_help_panel=_SERVER),
    ] = None,
    tls_server_name: Annotated[
        str,
        typer.Option(help="Name to expect in the certificate of gRPC.", rich_help_panel=_SERVER),
    ] = "",
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            help="Closed load: so many callers, each of whom asks again when it has its answer. "
            "Default: 1.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Open load: requests arrive so many times a second, answered or not.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    arrivals: Annotated[
        Literal["poisson", "constant"],
        typer.Option(help="How arrivals of --rate are spread.", rich_help_panel=_LOAD),
    ] = "poisson",
    requests: Annotated[
        int | None,
        typer.Option("--requests", "-n", min=1, help="How many to send.", rich_help_panel=_LOAD),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            "-d",
            min=0.1,
            help="Seconds after which no more are sent; those in flight are awaited. Default: 30 "
            "where --requests is not given.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Requests before the measurement, not counted. Default: as many as --concurrency, "
            "or 1.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Longest time for one answer, in s.", rich_help_panel=_LOAD),
    ] = 600.0,
    input_tokens: Annotated[
        str,
        typer.Option(
            help="Length of prompts, template included: 256, uniform:64:512, normal:256:64 or "
            "file:lengths.txt (one a line).",
            rich_help_panel=_WORK,
        ),
    ] = "256",
    output_tokens: Annotated[
        str | None,
        typer.Option(
            help="Length of answers, in the same forms. Default: 128, or with --dataset as long as "
            "the answers there.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    shared_prefix: Annotated[
        int,
        typer.Option(
            min=0,
            help="Tokens that prompts begin with in common, before --input-tokens.",
            rich_help_panel=_WORK,
        ),
    ] = 0,
    num_prefixes: Annotated[
        int,
        typer.Option(
            min=1, help="How many such beginnings there are, drawn evenly.", rich_help_panel=_WORK
        ),
    ] = 1,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="File to take prompts from: ShareGPT's JSON (first question and answer of each "
            "conversation), or lines of JSON objects with `prompt` and `output` or "
            "`output_tokens`.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    max_prompt: Annotated[
        int,
        typer.Option(
            min=1,
            help="Leaves out longer prompts of --dataset, a token taken for 4 characters.",
            rich_help_panel=_WORK,
        ),
    ] = 1024,
    task: Annotated[
        Literal["chat", "completion"],
        typer.Option(help="Answer a message, or continue a text.", rich_help_panel=_WORK),
    ] = "chat",
    ignore_eos: Annotated[
        bool,
        typer.Option(
            help="Has answers go on to their length; --no-ignore-eos for servers that do not know "
            "the field. /api has no such field.",
            rich_help_panel=_WORK,
        ),
    ] = True,
    temperature: Annotated[
        float | None,
        typer.Option(help="0 is greedy. Default: the server's own.", rich_help_panel=_WORK),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of lengths, words and arrivals.", rich_help_panel=_WORK)
    ] = 0,
    target_ttft_ms: Annotated[
        float | None,
        typer.Option(
            min=0, help="Counts as goodput what has its first token by then.", rich_help_panel=_LOAD
        ),
    ] = None,
    target_itl_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Counts as goodput what has a TPOT, its mean inter-token latency, within it.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File for the result, JSON.", rich_help_panel=_OUTPUT),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Add the run to those that --out holds; `compare` takes them pair by pair.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="File for a page with plots, of all runs of --out with --append.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=_OUTPUT)
    ] = False,
    label: Annotated[
        str,
        typer.Option(help="What the result is called in comparisons.", rich_help_panel=_OUTPUT),
    ] = "",
) -> None:
    """Put load on a server, and measure what it answers with; `compare` two results."""
    if context.invoked_subcommand is not None:
        return
    from ..server_choice import ServerChoice
    from .options import BenchOptions
    from .run import run

    choice = ServerChoice(
        target, tls, tls_ca_cert, tls_client_cert, tls_client_key, tls_server_name, api_key
    )
    options = BenchOptions(
        choice=choice,
        face=face,
        model=model,
        concurrency=concurrency,
        rate=rate,
        arrivals=arrivals,
        num_requests=requests,
        duration_s=duration,
        num_warmup=warmup,
        timeout_s=timeout,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        shared_prefix=shared_prefix,
        num_prefixes=num_prefixes,
        dataset=dataset,
        max_prompt_tokens=max_prompt,
        task=task,
        ignores_eos=ignore_eos,
        temperature=temperature,
        seed=seed,
        target_ttft_ms=target_ttft_ms,
        target_itl_ms=target_itl_ms,
        out=out,
        appends=append,
        html=html,
        as_json=as_json,
        label=label,
    )
    raise typer.Exit(run(options))


@bench_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Result to compare with.")],
    second: Annotated[Path, typer.Argument(help="Result to compare.")],
    *,
    html: Annotated[Path | None, typer.Option(help="File for a page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what the second result has as a multiple of the first, and how sure that is."""
    from .compare import compare_files

    raise typer.Exit(compare_files(first, second, html, as_json=as_json))
