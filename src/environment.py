"""Settings from the process environment and `.env`, all mistakes at once."""

from __future__ import annotations

import difflib
import enum
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import dotenv
import dotenv.parser
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_FILE = Path(".env")
OWN_PREFIX = "LLM_"
# The exit status of a process whose configuration has mistakes: starting it again does not help.
EXIT_CONFIGURATION = 2


def _check_http(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("takes an http or https address")
    return value.rstrip("/")


HttpAddress = Annotated[str, AfterValidator(_check_http)]


class ConfigurationError(Exception):
    """The environment holds mistakes; `problems` has one line for each, naming its variable."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Variable:
    """What is documented about one environment variable.

    `takes` says which values are right. `not_yet` is empty, or says what a value does not do yet.
    """

    name: str
    attribute: str
    default: str
    description: str
    takes: str
    not_yet: str
    is_secret: bool


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
            field.alias for field in cls.model_fields.values() if _extra(field).get("keeps_empty")
        }
        return {
            name: value
            for name, value in values.items()
            if name in keeps_empty or not (isinstance(value, str) and not value.strip())
        }

    def notices(self) -> list[str]:
        """Returns one sentence for everything that is set and not in force yet."""
        return [
            f"{variable.name} is set, but {variable.not_yet}"
            for variable in variables(type(self))
            if variable.not_yet
            and variable.attribute in self.model_fields_set
            and getattr(self, variable.attribute) not in (None, False)
        ]


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
    not_yet: str = "",
    default_factory: Callable[[dict[str, Any]], Any] | None = None,
    default_text: str | None = None,
    keeps_empty: bool = False,
) -> Any:
    """Declares a field that the variable `name` fills.

    Without `default` and `default_factory` the variable is required. `takes` is derived from the
    field's type where it is empty. `default_text` is shown in place of the default. A variable with
    `not_yet` is checked as the others are, and reported by `notices` when it is set.
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
            "not_yet": not_yet,
            "default_text": default_text,
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


def variables(settings_class: type[Settings]) -> tuple[Variable, ...]:
    """Lists the variables of a settings class in the order of its fields."""
    return tuple(
        Variable(
            name=field.alias or attribute,
            attribute=attribute,
            default=_default_text(field),
            description=field.description or "",
            takes=_extra(field)["takes"] or _takes(field),
            not_yet=_extra(field)["not_yet"],
            is_secret=SecretStr in _members(field.annotation),
        )
        for attribute, field in settings_class.model_fields.items()
    )


def shown_value(settings: Settings, variable: Variable) -> str:
    """Returns the value in force as text, secrets hidden."""
    value = getattr(settings, variable.attribute)
    if variable.is_secret and value is not None:
        return "(hidden)"
    return variable.default if value is None else _text(value)


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
    if detail["type"] == "value_error":
        return f"{name}: {message} (got {given})"
    return f"{name}: takes {variable.takes}, got {given}"


def _takes(field: FieldInfo) -> str:
    members = _members(field.annotation)
    for member in members:
        if isinstance(member, type) and issubclass(member, enum.Enum):
            return "one of " + ", ".join(str(choice.value) for choice in member)
    if bool in members:
        return "true or false"
    if int in members or float in members:
        return ("a number" if float in members else "a whole number") + _range(field)
    return "text"


def _range(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for part in field.metadata:
        for bound in ("ge", "gt", "le"):
            if getattr(part, bound, None) is not None:
                bounds[bound] = getattr(part, bound)
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"ge": " of at least", "gt": " above", "le": " of at most"}
    return " and".join(f"{words[bound]} {value}" for bound, value in bounds.items())


def _members(annotation: object) -> tuple[object, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _default_text(field: FieldInfo) -> str:
    text = _extra(field)["default_text"]
    if text is not None:
        return str(text)
    return "" if field.is_required() else _text(field.default)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(str(item) for item in typing.cast("tuple[object, ...]", value))
    if isinstance(value, Mapping):
        pairs = typing.cast("Mapping[object, object]", value)
        return ",".join(f"{name}={item}" for name, item in pairs.items())
    return str(value)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("a field of a settings class is declared with `setting`")
    return typing.cast("dict[str, Any]", extra)
