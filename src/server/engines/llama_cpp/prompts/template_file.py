"""The chat template of a tokenizer that stands beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class MalformedTokenizer(Exception):
    """The tokenizer's folder cannot be read. The message is for the operator."""


def read_chat_template(folder: Path) -> str:
    """Returns the template of a Hugging Face tokenizer folder, empty where it has none.

    Raises:
        MalformedTokenizer: its configuration is not JSON of the known shape.
    """
    template_file = folder / "chat_template.jinja"
    config_file = folder / "tokenizer_config.json"
    try:
        if template_file.is_file():
            return template_file.read_text(encoding="utf-8")
        if not config_file.is_file():
            return ""
        # Any: its shape is checked right here.
        config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
        template = config.get("chat_template", "")
        if isinstance(template, str):
            return template
        # Several templates with names, as older versions of transformers wrote them.
        return str({each["name"]: each["template"] for each in template}.get("default", ""))
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        name = template_file.name if template_file.is_file() else config_file.name
        raise MalformedTokenizer(f"{name} of the tokenizer cannot be read") from error
