"""Files of API keys that the tests write."""

from __future__ import annotations

import os
from pathlib import Path

from tokenwire.server.access.api_key import NewKey, make_key


def lines_of(made: NewKey, more: str = "") -> str:
    """The table of a key, with `more` fields in it."""
    key = made.key
    return (
        f'[keys."{key.name}"]\nid = "{key.key_id}"\nsalt = "{key.salt.hex()}"\n'
        f'sha256 = "{key.sha256.hex()}"\n{more}\n'
    )


def write_keys(path: Path, **more: str) -> dict[str, str]:
    """Writes a file with a key for each name and its further fields; returns the keys' texts.

    The file is replaced in one step, as an operator should do it.
    """
    made = {name: make_key(name) for name in more}
    replace_file(path, "\n".join(lines_of(key, more[name]) for name, key in made.items()))
    return {name: key.text for name, key in made.items()}


def replace_file(path: Path, text: str) -> None:
    """Puts a file in the place of another in one step."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)  # noqa: PTH105 - the name that says what it does
