"""The file of the keys: TOML, read strictly."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, cast

from .api_key import NUM_HASH_BYTES, NUM_ID_BYTES, NUM_SALT_BYTES, ApiKey, ApiKeys, Limits

MAX_NAME_CHARACTERS: Final = 64
KEY_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARACTERS - 1}}}")
KEY_NAME_FORM: Final = (
    f"up to {MAX_NAME_CHARACTERS} letters, digits, dots, dashes and underscores, the first of them "
    "a letter or digit"
)
_BYTES = {"id": NUM_ID_BYTES, "salt": NUM_SALT_BYTES, "sha256": NUM_HASH_BYTES}
_LIMITS = ("max_in_flight", "requests_per_minute", "tokens_per_minute")
_FIELDS = (*_BYTES, "models", "calls", "expires", *_LIMITS)
_MAX_LIMIT = 2**53


class KeyFileBroken(Exception):
    """A file of keys has mistakes; `problems` names line and field of each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def parse_keys(data: bytes, calls: Collection[str]) -> ApiKeys:
    """Reads the keys of a file. `calls` are the names that a key's `calls` may hold.

    Raises:
        KeyFileBroken: the file is not TOML, has no table [keys], or a field is wrong.
    """
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError:
        raise KeyFileBroken(["is not UTF-8"]) from None
    except RecursionError:
        raise KeyFileBroken(["is not TOML: it is nested too deep"]) from None
    except ValueError as error:  # also of a number with too many digits
        raise KeyFileBroken([f"is not TOML: {error}"]) from None
    reader = _Reader(text, calls)
    keys = reader.read(values)
    if reader.problems:
        raise KeyFileBroken(reader.problems)
    return ApiKeys(keys)


class _Wrong(Exception):
    """A value is not what its field takes; the text says what it does take."""


class _Reader:
    """Reads every key, and gathers what is wrong with all of them."""

    def __init__(self, text: str, calls: Collection[str]) -> None:
        self.problems: list[str] = []
        self._lines = text.splitlines()
        self._calls = sorted(calls)

    def read(self, values: Mapping[str, Any]) -> list[ApiKey]:
        for name in values:
            if name != "keys":
                self._add("", "", f"'{name}' is unknown; a key is a table [keys.NAME]")
        tables: Any = values.get("keys")
        # An empty file is one that is being written. An empty table is the wish that nobody calls.
        if not isinstance(tables, dict):
            self._add("", "", "holds no key; each is a table [keys.NAME], an empty [keys] is none")
            return []
        owners: dict[str, str] = {}
        keys: list[ApiKey] = []
        for name, table in cast("dict[str, Any]", tables).items():
            key = self._read_key(name, table)
            if key is None:
                continue
            if key.key_id in owners:
                self._add(name, "id", f"is that of '{owners[key.key_id]}', too")
            owners[key.key_id] = name
            keys.append(key)
        return keys

    def _read_key(self, name: str, table: Any) -> ApiKey | None:
        if not KEY_NAME.fullmatch(name):
            self._add(name, "", f"is no name of a key: it takes {KEY_NAME_FORM}")
        if not isinstance(table, dict):
            self._add(name, "", f"takes a table [keys.{name}]")
            return None
        num_problems = len(self.problems)
        fields = cast("dict[str, Any]", table)
        for field in fields:
            if field not in _FIELDS:
                nearest = difflib.get_close_matches(field, _FIELDS, n=1)
                hint = f"; did you mean {nearest[0]}?" if nearest else ""
                self._add(name, field, f"is no field of a key{hint}")
        read: dict[str, Any] = {}
        for field in _FIELDS:
            if field not in fields and field not in _BYTES:
                continue
            try:
                read[field] = self._read_field(field, fields.get(field))
            except _Wrong as error:
                self._add(name, field, str(error))
        if len(self.problems) > num_problems:
            return None
        return ApiKey(
            name=name,
            key_id=read["id"].hex(),
            salt=read["salt"],
            sha256=read["sha256"],
            models=read.get("models"),
            calls=read.get("calls"),
            expires=read.get("expires"),
            limits=Limits(*(read.get(limit) for limit in _LIMITS)),
        )

    def _read_field(self, field: str, value: Any) -> Any:
        if field in _BYTES:
            return _read_bytes(value, _BYTES[field])
        if field in _LIMITS:
            return _read_limit(value)
        if field == "expires":
            return _read_time(value)
        names = _read_names(value)
        if field == "calls":
            unknown = sorted(names - set(self._calls))
            if unknown:
                raise _Wrong(f"takes some of {', '.join(self._calls)}, got '{unknown[0]}'")
        return names

    def _add(self, name: str, field: str, problem: str) -> None:
        line = self._line_of(name, field)
        where = f"line {line}: " if line else ""
        path = ".".join(part for part in ("keys" if name else "", name, field) if part)
        self.problems.append(f"{where}{path}{': ' if path else ''}{problem}")

    def _line_of(self, name: str, field: str) -> int | None:
        """Finds a key's table and a field in it as `tokenwire keys new` writes them.

        TOML's reader does not tell. Returns the table's line where the field has none of its own.
        """
        if not name:
            return None
        head = re.compile(rf"\s*\[\s*keys\s*\.\s*([\"']?){re.escape(name)}\1\s*\]")
        entry = re.compile(rf"\s*([\"']?){re.escape(field)}\1\s*=")
        found: int | None = None
        for number, line in enumerate(self._lines, 1):
            if found is None:
                found = number if head.match(line) else None
            elif re.match(r"\s*\[\s*keys\b", line):
                break
            elif field and entry.match(line):
                return number
        return found


def _read_bytes(value: Any, num_bytes: int) -> bytes:
    # The value is not told: a key may have been pasted here.
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * num_bytes}}}", value):
        raise _Wrong(
            f"takes {2 * num_bytes} hexadecimal digits in lower case, "
            "as `tokenwire keys new` prints them"
        )
    return bytes.fromhex(value)


def _read_limit(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_LIMIT:
        raise _Wrong(f"takes a whole number from 1 to {_MAX_LIMIT}")
    return value


def _read_time(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _Wrong("takes a time with its offset, such as 2027-01-31T00:00:00Z, without quotes")
    return value


def _read_names(value: Any) -> frozenset[str]:
    values = cast("list[object]", value) if isinstance(value, list) else []
    names = [name for name in values if isinstance(name, str) and name]
    if not values or len(names) < len(values):
        raise _Wrong('takes a list of names, such as ["one", "other"], or is left out')
    return frozenset(names)
