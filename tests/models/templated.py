"""SmolLM2 with another chat template, on either engine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.engine_settings import Device, ModelFiles, ModelFormat
from tokenwire.server.engines.sglang.settings import SglangSettings

from ..server.engines.llama_cpp.launching import SMALL
from ..server.engines.llama_cpp.test_tools import launch_with
from ..server.engines.sglang.fixtures import launcher_for

ENGINES = ("llama.cpp", "sglang")
MAX_MODEL_LEN = 1024


async def launch_small(
    engine: str, template: str, folder: Path, *, gguf_file: Path, small_model: Path
) -> Engine:
    """Starts the small model with `template`; what it needs for that is written into `folder`."""
    if engine == "llama.cpp":
        settings = replace(SMALL, max_running=4, max_model_len=MAX_MODEL_LEN)
        return await launch_with(template, gguf_file, folder, settings)
    shutil.copytree(small_model, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    files = ModelFiles("some/model", ModelFormat.SAFETENSORS, folder)
    sglang = SglangSettings(Device.CPU, max_running=8, max_model_len=MAX_MODEL_LEN)
    return await launcher_for(files, sglang).launch(lambda _: None)
