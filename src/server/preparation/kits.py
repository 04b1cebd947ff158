"""The engines there are: a third one is added here, and nowhere else outside its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal, Self, get_type_hints

from pydantic import BeforeValidator, create_model, model_validator

from ...environment import setting
from ..contract.engine_settings import Device, options
from ..engines.kit import EngineKit, read_settings
from ..engines.llama_cpp.kit import LlamaCppKit
from ..engines.sglang.kit import SglangKit
from ..settings.model_settings import AUTO
from ..settings.server_config import ServerConfig

KITS: Final[tuple[EngineKit, ...]] = (SglangKit(), LlamaCppKit())


def config_class(kits: Sequence[EngineKit] = KITS) -> type[ServerConfig]:
    """Returns the class of the server's settings, the variables of these engines among them.

    config = load(config_class())
    """

    class Config(ServerConfig):
        @model_validator(mode="after")
        def _fits_together(self) -> Self:
            for kit in kits:
                # On any device: it looks at how the variables go together.
                if mistake := read_settings(kit.settings, self, Device.CPU).find_mistake():
                    raise ValueError(mistake)
            return self

    choices: Any = (AUTO, *(kit.kind for kit in kits))  # not known before the program runs
    own: dict[str, Any] = {"engine": (Literal[choices], ServerConfig.model_fields["engine"])}
    for kit in kits:
        types = get_type_hints(kit.settings)
        for name, option in options(kit.settings).items():
            kind = types[name]
            if option.parse is not None:
                kind = Annotated[kind, BeforeValidator(partial(_parse, option.parse))]
            own[option.attribute] = (kind, setting(option.variable, **option.setting))
    return create_model(ServerConfig.__name__, __base__=Config, **own)


def _parse(parse: Callable[[str], object], value: object) -> object:
    return parse(value) if isinstance(value, str) else value
