"""Writes the tiny checkpoints, and what transformers answers with them.

Run with `-m`, the folder that lends its tokenizer, the folder to write to and the names of the
architectures. A process of its own: torch and transformers are heavy, and their warnings are not
this project's.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .architectures import ARCHITECTURES, Architecture

PROMPTS = ("Once upon a time, in a small village by the sea,", "def add(a, b):\n    return")
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
NUM_TOKENS = 16
NUM_BEST = 4
REFERENCES = "references.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """What transformers answers greedily in float32.

    `best` holds per token the most probable ones, the best first: id, log-probability, and the
    text up to and with it.
    """

    prompt_ids: list[int]
    output_ids: list[int]
    best: list[list[tuple[int, float, str]]]


def write(tokenizer_folder: Path, folder: Path, architecture: Architecture) -> list[Reference]:
    """Writes one checkpoint and returns the references: one per prompt, then that of the chat."""
    import torch
    import transformers

    torch.manual_seed(architecture.seed)
    config = getattr(transformers, architecture.config)(**architecture.config_values)
    # The plain formula: the fused one leaves out Gemma 2's cap of the scores.
    config._attn_implementation = "eager"
    model_class = getattr(transformers, architecture.architecture)
    model = model_class(config).to(torch.float32).eval()
    randomise(model, architecture.zeroed)
    model.generation_config = transformers.GenerationConfig(do_sample=False)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer_folder / name, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    chat = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=True)
    return [_answer(model, tokenizer, ids) for ids in [*prompts, list(chat["input_ids"])]]


def randomise(model: Any, zeroed: tuple[str, ...]) -> None:
    """Draws every parameter, so that each one counts and the best token leads clearly.

    As they are made, norms are ones, biases zeros and the logits of a small model nearly equal.
    """
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in zeroed:
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "embed" in name:
                parameter.normal_(0.0, 0.1)
            else:
                parameter.normal_(0.0, 1.5 * parameter.shape[-1] ** -0.5)


def _answer(model: Any, tokenizer: Any, prompt_ids: list[int]) -> Reference:
    import torch

    with torch.inference_mode():
        outputs = model.generate(
            torch.tensor([prompt_ids]),
            attention_mask=torch.ones(1, len(prompt_ids), dtype=torch.long),
            max_new_tokens=NUM_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
        )
    output_ids = outputs.sequences[0, len(prompt_ids) :].tolist()
    return Reference(prompt_ids, output_ids, best_tokens(outputs.logits, output_ids, tokenizer))


def best_tokens(
    all_logits: Any, output_ids: list[int], tokenizer: Any
) -> list[list[tuple[int, float, str]]]:
    """The most probable tokens of each place; see `Reference`."""
    import torch

    best: list[list[tuple[int, float, str]]] = []
    for position, logits in enumerate(all_logits):
        values, ids = torch.log_softmax(logits[0].float(), -1).topk(NUM_BEST)
        before = output_ids[:position]
        best.append(
            [
                (one, value, tokenizer.decode([*before, one]))
                for one, value in zip(ids.tolist(), values.tolist(), strict=True)
            ]
        )
    return best


def main(tokenizer_folder: Path, root: Path, names: list[str]) -> None:
    """Writes the checkpoints named."""
    references = {}
    for architecture in ARCHITECTURES:
        if architecture.name in names:
            found = write(tokenizer_folder, root / architecture.model_id, architecture)
            references[architecture.name] = [asdict(reference) for reference in found]
    (root / REFERENCES).write_text(json.dumps(references))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
