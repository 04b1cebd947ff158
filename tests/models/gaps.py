"""How far apart two answers are where they part, as transformers computes it in float32.

Run with `-m` and the folder of the model; reads a list of `Parting` as JSON from stdin and prints
the gaps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .mixed_requests import MixedRequest


@dataclass(frozen=True, slots=True)
class Parting:
    """Two answers to one request: their token ids, or their texts where there are no ids."""

    request: MixedRequest
    ids: tuple[list[int], list[int]]
    texts: tuple[str, str]


def measure(model: Any, tokenizer: Any, parting: dict[str, Any]) -> tuple[int, float]:
    """Returns the position of the first different token, and the gap there in nats."""
    import torch

    first, second = parting["ids"]
    if not first:
        first, second = (
            tokenizer.encode(text, add_special_tokens=False) for text in parting["texts"]
        )
    # One that ended where the other went on chose the model's own end.
    first, second = ([*ids, tokenizer.eos_token_id] for ids in (first, second))
    pairs = zip(first, second, strict=False)
    position = next(at for at, (one, other) in enumerate(pairs) if one != other)
    ids = [*prompt_ids(tokenizer, parting["request"]), *first[:position]]
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1]
    logprobs = torch.log_softmax(logits.float(), -1)
    return position, abs(float(logprobs[first[position]] - logprobs[second[position]]))


def prompt_ids(tokenizer: Any, request: dict[str, Any]) -> list[int]:
    """Renders the prompt of a request."""
    if request["messages"]:
        messages = [{"role": role, "content": text} for role, text in request["messages"]]
        rendered = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )
        return list(rendered["input_ids"])
    return list(request["token_ids"]) or list(tokenizer.encode(request["text"]))


def main(folder: Path) -> None:
    """Measures all partings."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    partings = json.load(sys.stdin)
    print(json.dumps([measure(model, tokenizer, parting) for parting in partings]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
