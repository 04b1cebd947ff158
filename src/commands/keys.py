"""`tokenwire keys`: makes API keys."""

from __future__ import annotations

import sys

from ..environment import EXIT_CONFIGURATION
from ..server.access.api_key import make_key
from ..server.access.key_file import KEY_NAME, KEY_NAME_FORM

# What may follow, as comments: whoever pastes the lines sees it.
_LINES = """\
[keys.{name}]
id = "{key_id}"
salt = "{salt}"
sha256 = "{sha256}"
# models = ["owner/repo"]        # these only
# calls = ["Chat", "ListModels"] # these only; metrics, reflection, swagger only where named
# expires = 2027-01-31T00:00:00Z
# max_in_flight = 4
# requests_per_minute = 60
# tokens_per_minute = 100000
"""


def print_new(name: str) -> int:
    """Prints a new key to standard error, once, and its lines to standard output.

    Returns the exit status.
    """
    if not KEY_NAME.fullmatch(name):
        sys.stderr.write(f"'{name}' is no name of a key: it takes {KEY_NAME_FORM}.\n")
        return EXIT_CONFIGURATION
    made = make_key(name)
    key = made.key
    sys.stderr.write(
        f"The key, shown only now and kept nowhere:\n\n  {made.text}\n\n"
        "The lines for the file that LLM_API_KEYS_FILE names:\n\n"
    )
    sys.stderr.flush()
    # A dot in a bare TOML name would begin a table in the table.
    quoted = f'"{name}"' if "." in name else name
    sys.stdout.write(
        _LINES.format(name=quoted, key_id=key.key_id, salt=key.salt.hex(), sha256=key.sha256.hex())
    )
    return 0
