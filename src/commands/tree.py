"""The commands and their options, as `--help` shows them."""

from __future__ import annotations

# Commands import their modules when they run, each only its own: `PLC0415` is off for that.
# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated

import typer

from .bench.tree import bench_app

app = typer.Typer(
    name="tokenwire",
    help="A gRPC-first LLM inference service, with REST beside it. Settings are environment "
    "variables, or lines of .env in the working directory; `tokenwire config` shows them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EndWithStdin = Annotated[
    bool,
    typer.Option("--end-with-stdin", hidden=True, help="Drain when standard input closes."),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="Server to call, as host:port. Default: LLM_GRPC_TARGET, or LLM_GRPC_PORT here."
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="API key to call with. Default: LLM_API_KEY, which no list of processes shows."
    ),
]

keys_app = typer.Typer(no_args_is_help=True)
app.add_typer(keys_app, name="keys", help="Make API keys for the callers of a server.")
app.add_typer(bench_app, name="bench")

Tls = Annotated[
    bool | None,
    typer.Option("--tls/--no-tls", help="Use TLS. Default: LLM_GRPC_TARGET_TLS."),
]
Authorities = Annotated[
    Path | None,
    typer.Option("--tls-ca-cert", help="PEM file of the authorities to trust."),
]
ClientCertificate = Annotated[
    Path | None, typer.Option("--tls-client-cert", help="PEM file of a certificate to show.")
]
ClientKey = Annotated[
    Path | None, typer.Option("--tls-client-key", help="PEM file of that certificate's key.")
]
ServerName = Annotated[
    str, typer.Option("--tls-server-name", help="Name to expect in the server's certificate.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def tokenwire(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def serve(
    welcome: Annotated[
        bool, typer.Option("--welcome", help="Show addresses, progress and what to try.")
    ] = False,
) -> None:
    """Run the gRPC server and the HTTP edge, and restart what dies."""
    from .start import run_both

    raise typer.Exit(run_both(has_welcome=welcome))


@app.command()
def server(
    end_with_stdin: EndWithStdin = False,
    metrics_socket: Annotated[
        int | None, typer.Option(hidden=True, help="Inherited socket that metrics are read from.")
    ] = None,
) -> None:
    """Run the gRPC server alone."""
    from .start import run_server

    raise typer.Exit(run_server(ends_with_stdin=end_with_stdin, metrics_fd=metrics_socket))


@app.command()
def edge(end_with_stdin: EndWithStdin = False) -> None:
    """Run the HTTP edge alone; it calls the server at LLM_GRPC_TARGET."""
    from .start import run_edge

    raise typer.Exit(run_edge(ends_with_stdin=end_with_stdin))


@app.command()
def models(
    *,
    target: Target = None,
    tls: Tls = None,
    tls_ca_cert: Authorities = None,
    tls_client_cert: ClientCertificate = None,
    tls_client_key: ClientKey = None,
    tls_server_name: ServerName = "",
    api_key: ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models of a server and where each one stands."""
    from .server_choice import ServerChoice
    from .talk import list_models

    choice = ServerChoice(
        target, tls, tls_ca_cert, tls_client_cert, tls_client_key, tls_server_name, api_key
    )
    raise typer.Exit(list_models(choice, as_json=as_json))


@app.command()
def chat(
    message: Annotated[
        str | None, typer.Argument(help="What to say. Without it: a conversation.")
    ] = None,
    *,
    target: Target = None,
    tls: Tls = None,
    tls_ca_cert: Authorities = None,
    tls_client_cert: ClientCertificate = None,
    tls_client_key: ClientKey = None,
    tls_server_name: ServerName = "",
    api_key: ApiKey = None,
    model: Annotated[
        str | None, typer.Option(help="Id of the model. Default: the first that serves.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions for the model.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
) -> None:
    """Talk to a model; the answer streams, with its speed below."""
    from .server_choice import ServerChoice
    from .talk import ChatOptions
    from .talk import chat as talk

    choice = ServerChoice(
        target, tls, tls_ca_cert, tls_client_cert, tls_client_key, tls_server_name, api_key
    )
    options = ChatOptions(model, system, temperature, max_tokens, seed)
    raise typer.Exit(talk(choice, message, options))


@keys_app.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="Who will have the key. Logs and metrics show it.")],
) -> None:
    """Make a key: print it once, and the lines that a server needs to know it."""
    from .keys import print_new

    raise typer.Exit(print_new(name))


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def healthcheck() -> None:
    """Check a server's health, with grpc_health_probe's flags and exit statuses."""
    raise typer.Exit()  # `main` runs it without this module; it stands here for `--help`


@app.command()
def config(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    extras: Annotated[
        bool, typer.Option("--extras", help="Print the extras that the models need, only.")
    ] = False,
    packages: Annotated[
        bool, typer.Option("--packages", help="Print the packages that hold the models, only.")
    ] = False,
) -> None:
    """Show every variable in force, where it comes from, and the engines that follow."""
    from . import show_config

    if extras or packages:
        raise typer.Exit(show_config.print_needs(has_extras=extras, has_packages=packages))
    raise typer.Exit(show_config.show(as_json=as_json))


@app.command()
def version() -> None:
    """Print the version."""
    from .. import __version__

    typer.echo(__version__)
