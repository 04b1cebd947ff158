"""An answer that must call tools is a list of calls, as their schemas say."""

from __future__ import annotations

import json

from tokenwire.server.contract.tools import Tool
from tokenwire.server.engines.answers.forced_schema import forced_schema


def test_references_keep_their_target() -> None:
    """Two schemas with definitions of one name live beside each other."""
    schemas = [
        {"$defs": {"x": {"type": kind}}, "properties": {"a": {"$ref": "#/$defs/x"}}}
        for kind in ("string", "integer")
    ]
    tools = tuple(Tool(f"t{index}", "", json.dumps(schema)) for index, schema in enumerate(schemas))
    schema = json.loads(forced_schema(tools, only_one=False))
    assert "maxItems" not in schema
    for index, kind in enumerate(("string", "integer")):
        moved = schema["$defs"][f"tool{index}"]
        assert moved["properties"]["a"] == {"$ref": f"#/$defs/tool{index}/$defs/x"}
        assert moved["$defs"]["x"] == {"type": kind}
