"""Runs the cases of one client, one after the other, and tells each as a line of JSON."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

REAL = os.environ["REAL_URL"]
"""`/v1` of the service with the real model."""
SCRIPTED = os.environ["SCRIPTED_URL"]
"""`/v1` of an edge whose answers a script decides, by the model's name (`scripted_answers.py`)."""
MODEL = os.environ["MODEL"]
HI = [{"role": "user", "content": "Say hi."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
IMAGE_URL = "data:image/png;base64," + base64.b64encode(b"no image").decode()
IMAGE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": IMAGE_URL}},
        ],
    }
]

_cases: list[Callable[[], Any]] = []


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Adds a case; it fails by what it raises."""
    _cases.append(function)
    return function


def raises(kind: Any, call: Callable[[], Any]) -> Any:
    """Returns what a call raises, which must be of this kind and of no other."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind} was raised")


def run() -> None:
    """Runs all cases."""
    for function in _cases:
        problem = ""
        try:
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            problem = traceback.format_exc()
        print(json.dumps({"case": function.__name__, "problem": problem}), flush=True)
    sys.exit(0)
