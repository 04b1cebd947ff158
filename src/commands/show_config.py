"""`tokenwire config`: what is in force, where it comes from, and which engines follow from it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ..environment import Settings, load, origin
from ..server.contract.model_id import DEFAULT_MODEL, ModelId
from ..server.engines.kit import NoEngine
from ..server.files.model_finder import BUILT_IN_PACKAGE
from ..server.preparation.engine_choice import EngineDecision, Machine, inspect_machine
from ..server.preparation.kits import KITS, config_class
from ..variables import Variable, shown_value, variables
from .caller_settings import CallerSettings
from .decisions import decide_all
from .start import load_both, warnings_of

EXIT_NO_ENGINE = 3
_PIPE_WIDTH = 240

Decisions = dict[ModelId, EngineDecision | NoEngine]


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
    rows = _rows(server, edge, load(CallerSettings))
    warnings = warnings_of(server)
    engines = decide_all(server, inspect_machine())
    if as_json:
        sys.stdout.write(json.dumps(_document(rows, warnings, engines), indent=2) + "\n")
    else:
        _print(rows, warnings, engines)
    return 0


def print_needs(*, has_extras: bool, has_packages: bool) -> int:
    """Prints what must be installed for the configured models; returns the exit status.

    Extras of this package, packages that hold a model, or both, each once, one a line. It is asked
    before they are installed, so it does not look at what is. A model that no engine can run is
    told on standard error; the status is 0 while another one can be run.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    settings = load(config_class())
    machine = Machine(
        has_gpu=inspect_machine().has_gpu, installed=frozenset(kit.kind for kit in KITS)
    )
    extras: list[str] = []
    packages: list[str] = []
    for model, decision in decide_all(settings, machine).items():
        if isinstance(decision, NoEngine):
            sys.stderr.write(f"{model}: {decision}\n")
            continue
        extras.append(decision.kit.kind)
        if model == DEFAULT_MODEL:
            packages.append(BUILT_IN_PACKAGE)
    if not extras:
        return EXIT_NO_ENGINE
    needs = (extras if has_extras else []) + (packages if has_packages else [])
    sys.stdout.writelines(f"{name}\n" for name in dict.fromkeys(needs))
    return 0


def _rows(*all_settings: Settings) -> list[_Row]:
    rows: dict[str, _Row] = {}
    for settings in all_settings:
        for variable in variables(type(settings)):
            value = shown_value(settings, variable)
            rows.setdefault(variable.name, _Row(variable, value, origin(variable)))
    return list(rows.values())


def _document(rows: list[_Row], warnings: list[str], engines: Decisions) -> dict[str, object]:
    return {
        "variables": {
            row.variable.name: {
                "value": row.value,
                "from": row.origin,
            }
            for row in rows
        },
        "engines": {str(model): _choice(decision) for model, decision in engines.items()},
        "warnings": warnings,
    }


def _choice(decision: EngineDecision | NoEngine) -> dict[str, object]:
    if isinstance(decision, NoEngine):
        return {"error": str(decision)}
    return {
        "name": decision.kit.kind,
        "device": decision.device.value,
        "reason": decision.reason,
        "missing": decision.missing or None,
    }


def _print(rows: list[_Row], warnings: list[str], engines: Decisions) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(box=None)
    table.add_column("VARIABLE", no_wrap=True)
    table.add_column("VALUE", overflow="fold")
    table.add_column("FROM", no_wrap=True)
    table.add_column("WHAT IT IS")
    for row in rows:
        style = None if row.origin != "default" else "dim"
        table.add_row(
            row.variable.name,
            row.value or "-",
            row.origin,
            row.variable.description,
            style=style,
        )
    console.print(table)
    console.print()
    for model, decision in engines.items():
        if isinstance(decision, NoEngine):
            console.print(f"No engine for {model}: {decision}")
            continue
        console.print(
            f"Engine of {model}: {decision.kit.name} on {decision.device.value}: {decision.reason}"
        )
        if decision.missing:
            console.print(f"Missing: {decision.missing}")
    for warning in warnings:
        console.print(f"Warning: {warning}")
