"""docs/configuration.md against the settings."""

from __future__ import annotations

from tokenwire.commands.caller_settings import CallerSettings
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.preparation.kits import config_class
from tokenwire.variables import Variable, variables

from .pages import read_page, table_below

SERVER = {variable.name: variable for variable in variables(config_class())}
EDGE = {variable.name: variable for variable in variables(EdgeConfig)}
CALLER = {variable.name: variable for variable in variables(CallerSettings)}
EVERY = SERVER | EDGE | CALLER
READERS = {"server": SERVER, "edge": EDGE, "chat, models": CALLER}


def documented() -> dict[str, list[str]]:
    """The rows of the table, by variable."""
    rows = table_below(read_page("configuration.md"), "## All variables")
    return {row[0].strip("`"): row[1:] for row in rows}


def expected(variable: Variable) -> list[str]:
    """What the row of a variable must say."""
    readers = [name for name, known in READERS.items() if variable.name in known]
    return [
        f"`{variable.default}`" if variable.default else "-",
        variable.takes,
        variable.description,
        ", ".join(readers),
    ]


def test_every_variable_is_documented() -> None:
    """The table names every variable, and nothing more."""
    assert sorted(documented()) == sorted(EVERY)


def test_rows_say_what_the_settings_say() -> None:
    """Default, values, meaning and who reads it agree with the code."""
    rows = documented()
    assert rows == {name: expected(variable) for name, variable in EVERY.items()}


def test_example_file_names_known_variables() -> None:
    """`.env.example` holds nothing that the service does not read."""
    lines = [line.lstrip("#") for line in read_page("../.env.example").splitlines()]
    names = {line.partition("=")[0] for line in lines if "=" in line and " " not in line}
    assert names
    assert names <= EVERY.keys()
