"""Settings from the process environment and `.env`, all mistakes at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import dotenv
import dotenv.parser
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from .variables import Variable, extra_of, hide_user_info, variables

ENV_FILE = Path(".env")
OWN_PREFIX = "LLM_"
# The exit status of a process whose configuration has mistakes: starting it again does not help.
EXIT_CONFIGURATION = 2


_TAKES_ADDRESS = "takes an http or https address"


def _check_http(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError(_TAKES_ADDRESS)
    return value.rstrip("/")


def _expand(path: Path) -> Path:
    return Path(os.path.expandvars(path.expanduser()))


HttpAddress = Annotated[str, AfterValidator(_check_http)]
ExpandedPath = Annotated[Path, AfterValidator(_expand)]
"""A path in which `~` and `$NAME` are replaced, as Hugging Face's tools do."""


class ConfigurationError(Exception):
    """The environment holds mistakes; `problems` has one line for each, naming its variable."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


class Settings(BaseSettings):
    """Base of every settings class: frozen, one environment variable a field.

    An empty value is the same as an unset one, except where the field keeps it.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        extra="ignore",
        populate_by_name=True,
        allow_inf_nan=False,
        str_strip_whitespace=True,
        enable_decoding=False,
        env_file_encoding="utf-8",
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, Any]) -> dict[str, Any]:  # strings, or a test's own
        keeps_empty = {
            field.alias for field in cls.model_fields.values() if extra_of(field).get("keeps_empty")
        }
        return {
            name: value
            for name, value in values.items()
            if name in keeps_empty or not (isinstance(value, str) and not value.strip())
        }

    def notices(self) -> list[str]:
        """Returns one sentence for everything that is set to no effect."""
        return []


SettingsT = TypeVar("SettingsT", bound=Settings)


def setting(
    name: str,
    default: Any = ...,
    *,
    description: str,
    takes: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    default_factory: Callable[[dict[str, Any]], Any] | None = None,
    default_text: str | None = None,
    empty_text: str = "",
    keeps_empty: bool = False,
) -> Any:
    """Declares a field that the variable `name` fills.

    Without `default` and `default_factory` the variable is required. `takes` is derived from the
    field's type where it is empty. `default_text` is shown in place of the default,
    `empty_text` in place of a value without items.
    """
    made: dict[str, Any] = {"default_factory": default_factory} if default_factory else {}
    return Field(
        **(made or {"default": default}),
        alias=name,
        description=description,
        ge=ge,
        gt=gt,
        le=le,
        json_schema_extra={
            "takes": takes,
            "default_text": default_text,
            "empty_text": empty_text,
            "keeps_empty": keeps_empty,
        },
    )


def load(settings_class: type[SettingsT], env_file: Path | None = ENV_FILE) -> SettingsT:
    """Reads `settings_class` from the process environment and, behind it, `env_file`.

    Raises:
        ConfigurationError: one line for every variable that is missing or does not parse.
    """
    read_env_file(env_file)  # its own mistakes, in our words
    try:
        # pydantic-settings takes `_env_file` beside the fields, which type checkers do not see.
        return settings_class(_env_file=env_file)  # type: ignore[call-arg]
    except ValidationError as error:
        known = {variable.name: variable for variable in variables(settings_class)}
        problems = [
            _problem(detail, known)
            for detail in error.errors()
            # A default made from a field that has a mistake itself.
            if detail["type"] != "default_factory_not_called"
        ]
        raise ConfigurationError(problems) from None


def export_env_file(env_file: Path = ENV_FILE) -> None:
    """Puts the variables of `env_file` into the process environment, which wins.

    Libraries and child processes read theirs there (`CUDA_VISIBLE_DEVICES`, `SSL_CERT_FILE`).

    Raises:
        ConfigurationError: the file cannot be read.
    """
    for name, value in read_env_file(env_file).items():
        os.environ.setdefault(name, value)


def read_env_file(env_file: Path | None = ENV_FILE) -> dict[str, str]:
    """Returns the variables of `env_file`, none where there is no such file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if env_file is None or not env_file.is_file():
        return {}
    try:
        with env_file.open(encoding="utf-8") as stream:
            bindings = list(dotenv.parser.parse_stream(stream))
        broken = [binding.original.line for binding in bindings if binding.error]
        if broken:
            raise ConfigurationError(
                [f"{env_file}: line {number} is not of the form NAME=value" for number in broken]
            )
        values = dotenv.dotenv_values(env_file, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{env_file}: cannot be read: {error}"]) from error
    return {name: value for name, value in values.items() if value is not None}


def origin(variable: Variable, env_file: Path | None = ENV_FILE) -> str:
    """Says where the value of a variable comes from: environment, the file's name or default."""
    if os.environ.get(variable.name, "").strip():
        return "environment"
    if variable.name not in os.environ and read_env_file(env_file).get(variable.name, "").strip():
        return str(env_file)
    return "default"


def unknown_variables(known: Iterable[str], env_file: Path | None = ENV_FILE) -> list[str]:
    """Returns one sentence for every `LLM_*` variable that nothing reads, with the nearest name."""
    names = sorted(set(known))
    sentences: list[str] = []
    for name in sorted({*os.environ, *read_env_file(env_file)}):
        if not name.startswith(OWN_PREFIX) or name in names:
            continue
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        sentences.append(f"{name} is set, but no such variable exists{hint}")
    return sentences


def _problem(detail: ErrorDetails, known: Mapping[str, Variable]) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    variable = known.get(name)
    message = detail["msg"].removeprefix("Value error, ")
    if variable is None:
        return message
    if detail["type"] == "missing":
        return f"{name}: is not set; takes {variable.takes}"
    given = "a value that is not shown" if variable.is_secret else repr(detail["input"])
    if message == _TAKES_ADDRESS:  # a password may stand in it behind any scheme, or none
        given = re.sub(r"'.*@", "'(hidden)@", given)
    given = hide_user_info(given)
    if detail["type"] == "value_error":
        return f"{name}: {message} (got {given})"
    return f"{name}: takes {variable.takes}, got {given}"
