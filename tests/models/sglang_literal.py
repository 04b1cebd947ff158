"""What SGLang's chat code and our rendering make of messages, with a tokenizer of transformers.

Reads from standard input a JSON list of tokenizers (`tokenizer.json` as text, or a GGUF file), each
with its template and the texts that a user writes, and prints the ids of a conversation for each of
the texts, and of a gap between two texts where `infill` has them. No model is loaded.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, InfillPrompt, Prompt, Role
from tokenwire.server.engines.sglang.cpu import (
    cpu_environment,
    hide_gpu_packages,
    offer_kernel_stand_in,
)


def main() -> None:
    """Answers one question."""
    os.environ.update(cpu_environment(1))
    hide_gpu_packages()
    offer_kernel_stand_in()
    _publish_settings()
    question = json.load(sys.stdin)
    print(json.dumps([_ids(each) for each in question]))


def _publish_settings() -> None:
    """Settings of a process are what SGLang's chat code reads first; any model does for them."""
    arguments: Any = import_module("sglang.srt.server_args")
    context: Any = import_module("sglang.srt.runtime_context")
    transformers: Any = import_module("transformers")
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.LlamaConfig(architectures=["LlamaForCausalLM"])
        config.save_pretrained(folder)
        context.publish(arguments.ServerArgs(model_path=folder, device="cpu"), role="tokenizer")


def _ids(asked: dict[str, Any]) -> list[list[int]]:
    rendering: Any = import_module("tokenwire.server.engines.sglang.host.rendering")
    tokenizer = _tokenizer(asked)
    tokenizer.chat_template = asked["template"]
    renderer = rendering.Renderer(_engine(tokenizer))
    prompts: list[Prompt] = [
        ChatPrompt((ChatMessage(Role.USER, text),)) for text in asked.get("texts", ())
    ]
    if "infill" in asked:
        prompts.append(InfillPrompt(*asked["infill"]))
    return [list(renderer.render(prompt).token_ids) for prompt in prompts]


def _tokenizer(asked: dict[str, Any]) -> Any:
    tokenizers: Any = import_module("tokenizers")
    transformers: Any = import_module("transformers")
    if "gguf" in asked:
        file = Path(asked["gguf"])
        return transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(asked["tokenizer"]),
        unk_token=asked["unknown"],
    )


def _engine(tokenizer: Any) -> Any:
    """What the renderer asks of SGLang's `Engine`, with SGLang's own templates behind it."""
    templates: Any = import_module("sglang.srt.parser.template_manager")
    config = SimpleNamespace(
        vocab_size=len(tokenizer),
        hf_config=SimpleNamespace(model_type="llama", architectures=["LlamaForCausalLM"]),
        get_default_sampling_params=dict,
        is_multimodal=False,
    )
    manager = SimpleNamespace(
        tokenizer=tokenizer,
        processor=None,
        model_config=config,
        served_model_name="tiny",
        model_path="tiny",
        server_args=None,
        config_value=lambda _: None,
    )
    manager_of_templates = templates.TemplateManager()
    manager_of_templates.initialize_templates(
        tokenizer_manager=manager, model_path="tiny", chat_template=None, completion_template=None
    )
    return SimpleNamespace(tokenizer_manager=manager, template_manager=manager_of_templates)


if __name__ == "__main__":
    main()
