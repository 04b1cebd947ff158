"""Which LoRA adapter a call asks for, and whether the model has it."""

from __future__ import annotations

from ...contract.engine import ModelInfo
from ...contract.errors import InvalidRequest, ModelLoadFailed
from ...models.models import Route
from ..calls import Call


def find_adapter(call: Call, route: Route, info: ModelInfo) -> str:
    """Returns the LoRA adapter that a call asks for, empty for none.

    Raises:
        InvalidRequest: the model has no such adapter, or the call names two.
        ModelLoadFailed: the engine did not load it.
    """
    name = route.lora_adapter or call.lora_adapter
    if call.lora_adapter and call.lora_adapter != name:
        raise InvalidRequest(
            "lora_adapter",
            f"must be empty or '{name}', because the model asked for is that adapter",
        )
    if not name or name in info.lora_adapters:
        return name
    base = route.model.model_id
    if route.lora_adapter:
        raise ModelLoadFailed(f"LoRA adapter '{name}': the engine of '{base}' did not load it")
    offered = ", ".join(f"'{adapter}'" for adapter in info.lora_adapters) or "none"
    raise InvalidRequest("lora_adapter", f"'{name}' is no adapter of '{base}'; it has {offered}")
