"""What the tests of this package found, for the tables of docs/models.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

VARIABLE = "TOKENWIRE_MODEL_RESULTS"
"""Names the file to write to; unset: nothing is written."""

_PACKAGES = ("sglang", "torch", "transformers", "xllamacpp")


@dataclass
class Results:
    """What one run found.

    `found` holds a sentence by the name of an architecture, by where it was tried: `sglang`,
    `llama.cpp` or `registry`. `figures` holds sentences by a name of their own.
    """

    found: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    figures: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, place: str, name: str, sentence: str) -> None:
        """Keeps what an architecture did."""
        self.found.setdefault(place, {})[name] = sentence

    def write(self, file: Path) -> None:
        """Writes date, versions and what was found, over what an earlier run left in the file."""
        before: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        found = before.get("found", {})
        content = {
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {package: version(package) for package in _PACKAGES},
            "found": found
            | {place: found.get(place, {}) | rows for place, rows in self.found.items()},
            "figures": before.get("figures", {}) | self.figures,
        }
        file.write_text(json.dumps(content, indent=1) + "\n")
