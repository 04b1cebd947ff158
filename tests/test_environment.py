from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from tokenwire.environment import (
    ConfigurationError,
    HttpAddress,
    Settings,
    export_env_file,
    load,
    origin,
    setting,
    unknown_variables,
)
from tokenwire.variables import shown_value, variables


class Example(Settings):
    """A few variables of every kind."""

    required: str = setting("TW_REQUIRED", description="Needed", takes="a word")
    number: int = setting("TW_NUMBER", 3, ge=1, le=9, description="A number")
    share: float = setting("TW_SHARE", 0.5, gt=0, le=1, description="A share")
    switch: bool = setting("TW_SWITCH", False, description="A switch")
    secret: SecretStr | None = setting("TW_SECRET", None, description="A secret")
    pin: int = setting("TW_PIN", 0, ge=0, description="A number")
    gpus: str | None = setting("TW_GPUS", None, keeps_empty=True, description="GPUs")
    address: HttpAddress | None = setting("TW_ADDRESS", None, description="An address")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in variables(Example):
        monkeypatch.delenv(variable.name, raising=False)
    return tmp_path


def problems_of() -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(Example)
    return caught.value.problems


def test_all_mistakes_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake has a line with the variable, what it takes and the value given."""
    monkeypatch.setenv("TW_NUMBER", "ten")
    monkeypatch.setenv("TW_SHARE", "nan")
    monkeypatch.setenv("TW_SWITCH", "perhaps")
    monkeypatch.setenv("TW_ADDRESS", "ftp://x")
    assert problems_of() == (
        "TW_REQUIRED: is not set; takes a word",
        "TW_NUMBER: takes a whole number from 1 to 9, got 'ten'",
        "TW_SHARE: takes a number above 0 and of at most 1, got 'nan'",
        "TW_SWITCH: takes true or false, got 'perhaps'",
        "TW_ADDRESS: takes an http or https address (got 'ftp://x')",
    )


def test_an_empty_value_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty and blank values take the default, and leave a required variable missing."""
    monkeypatch.setenv("TW_REQUIRED", "  ")
    monkeypatch.setenv("TW_NUMBER", "")
    assert problems_of() == ("TW_REQUIRED: is not set; takes a word",)


def test_an_empty_value_can_mean_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that keeps its empty value tells it from an unset one."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    assert load(Example).gpus is None
    monkeypatch.setenv("TW_GPUS", "")
    assert load(Example).gpus == ""


def test_a_mistake_in_a_secret_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings' text nor the list of values holds a secret."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    monkeypatch.setenv("TW_SECRET", "hunter2")
    settings = load(Example)
    shown = [shown_value(settings, variable) for variable in variables(Example)]
    assert "hunter2" not in f"{settings!r} {settings} {shown}"
    assert "(hidden)" in shown


def test_a_password_in_an_address_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of values shows an address without its user info."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    monkeypatch.setenv("TW_ADDRESS", "http://user:hunter2@host/path")
    settings = load(Example)
    shown = {each.name: shown_value(settings, each) for each in variables(Example)}
    assert shown["TW_ADDRESS"] == "http://(hidden)@host/path"


@pytest.mark.parametrize("value", ["ftp://user:hunter2@host", "user:hunter2@host"])
def test_a_password_in_a_wrong_address_is_hidden(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The message of an address that is none has no user info."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    monkeypatch.setenv("TW_ADDRESS", value)
    (problem,) = problems_of()
    assert problem == "TW_ADDRESS: takes an http or https address (got '(hidden)@host')"


def test_a_password_in_an_address_elsewhere_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in a variable that takes something else is shown without its user info."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    monkeypatch.setenv("TW_NUMBER", "http://user:hunter2@host")
    (problem,) = problems_of()
    assert problem == "TW_NUMBER: takes a whole number from 1 to 9, got 'http://(hidden)@host'"


def test_env_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """`.env` fills what the environment leaves open, and each value tells where it came from."""
    (folder / ".env").write_text("TW_REQUIRED='from file'\nexport TW_NUMBER=4\nOTHER=1\n")
    monkeypatch.setenv("TW_NUMBER", "5")
    settings = load(Example)
    assert (settings.required, settings.number) == ("from file", 5)
    origins = {variable.name: origin(variable) for variable in variables(Example)}
    assert origins["TW_REQUIRED"] == ".env"
    assert origins["TW_NUMBER"] == "environment"
    assert origins["TW_SHARE"] == "default"


def test_env_file_that_is_no_text(folder: Path) -> None:
    """A `.env` that cannot be read is a mistake like any other."""
    (folder / ".env").write_bytes(b"TW_REQUIRED=\xff\xfe\n")
    assert problems_of()[0].startswith(".env: cannot be read")


def test_env_file_with_a_broken_line(folder: Path) -> None:
    """A line of `.env` that sets nothing is a mistake with its number, not a line ignored."""
    (folder / ".env").write_text("TW_REQUIRED=yes\nthis is broken\n")
    assert problems_of() == (".env: line 2 is not of the form NAME=value",)


def test_export_leaves_the_environment_in_charge(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Libraries see the values of `.env`, except where the environment has one."""
    (folder / ".env").write_text("TW_NUMBER=4\nTW_GPUS=0\n")
    monkeypatch.setenv("TW_NUMBER", "5")
    monkeypatch.setenv("TW_GPUS", "to be undone after the test")
    monkeypatch.delenv("TW_GPUS")
    export_env_file()
    monkeypatch.setenv("TW_REQUIRED", "yes")
    settings = load(Example, env_file=None)
    assert (settings.number, settings.gpus) == (5, "0")


def test_settings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody changes a setting after the start."""
    monkeypatch.setenv("TW_REQUIRED", "yes")
    settings = load(Example)
    with pytest.raises(ValueError, match="frozen"):
        settings.number = 4


def test_unknown_variables_come_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """A misspelled variable is told, from the environment and from `.env`."""
    monkeypatch.setenv("LLM_GRPC_PROT", "1")
    (folder / ".env").write_text("LLM_SOMETHING_ELSE=1\n")
    sentences = unknown_variables(["LLM_GRPC_PORT"])
    assert "LLM_GRPC_PROT is set, but no such variable exists; did you mean LLM_GRPC_PORT?" in (
        sentences
    )
    assert "LLM_SOMETHING_ELSE is set, but no such variable exists" in sentences
