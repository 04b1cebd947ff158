"""Words of SGLang's command line beside the service's own arguments."""

from __future__ import annotations

import json

from tokenwire.server.engines.sglang.host.extra_arguments import merge_arguments


def test_operator_wins() -> None:
    """What LLM_SGLANG_ARGS gives takes the place of what the service would choose."""
    ours = {"mem_fraction_static": 0.5, "page_size": 32}
    assert merge_arguments(ours, {"mem_fraction_static": 0.8}) == ours | {
        "mem_fraction_static": 0.8
    }


def test_overrides_of_configuration_are_merged() -> None:
    """Overrides of the model's configuration come beside the service's own for a GGUF file."""
    name = "json_model_override_args"
    merged = merge_arguments({name: '{"a": 1, "b": 2}'}, {name: '{"b": 3}'})
    assert json.loads(merged[name]) == {"a": 1, "b": 3}
