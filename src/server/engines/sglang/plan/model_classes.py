"""What SGLang's model classes define, read from its sources: to import them takes ten seconds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path


def class_defines(name: str, attribute: str) -> bool:
    """Returns whether a model class of SGLang, or one that it inherits from, defines a name.

    False, too, where SGLang has no such class, or is not installed. Takes about 0.02 s a class.
    """
    spec = importlib.util.find_spec("sglang")
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(spec.submodule_search_locations[0]) / "srt" / "models"
    return _defines(folder, name, attribute)


def _defines(folder: Path, name: str, attribute: str) -> bool:
    # The body of a class: all lines that are indented or empty.
    definition = re.compile(
        rf"^class {re.escape(name)}\b(?:\((?P<bases>[^)]*)\))?:.*\n(?P<body>(?:[ \t].*\n|\n)*)",
        re.MULTILINE,
    )
    for file in folder.glob("*.py"):
        text = file.read_text("utf-8-sig")
        # Most of the time goes into the files that do not even have the name.
        found = definition.search(text) if f"class {name}" in text else None
        if found is None:
            continue
        if re.search(rf"^    (?:def )?{attribute}\b", found["body"], re.MULTILINE):
            return True
        bases = re.findall(r"\w+", found["bases"] or "")
        return any(_defines(folder, base, attribute) for base in bases if base != name)
    return False
