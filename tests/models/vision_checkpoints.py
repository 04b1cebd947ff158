"""Writes a tiny checkpoint that sees, and what transformers answers with it: Qwen2.5-VL's shape.

Run with `-m`, the folder that lends its tokenizer and the folder to write to. A process of its own,
as `checkpoints.py` is.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..server.media.files import image_file
from .checkpoints import NUM_TOKENS, REFERENCES, Reference, best_tokens, randomise
from .shapes import COMMON, VOCAB_SIZE

QUESTION = "What is this?"
IMAGES = (
    [image_file("PNG", (64, 64), "red")],
    [image_file("PNG", (120, 56), "blue")],
    [image_file("PNG", (64, 64), "red"), image_file("PNG", (56, 84), "green")],
)
"""What the references are asked about: each answer is to the question and these images."""

TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(tokenizer_folder: Path, folder: Path) -> None:
    """Writes weights, tokenizer and image processor."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(TOKENS)})
    tokenizer.chat_template = TEMPLATE
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(TOKENS))
    text = COMMON | {"vocab_size": VOCAB_SIZE + 64, "tie_word_embeddings": False}
    text["rope_scaling"] = {"type": "mrope", "rope_type": "default", "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": text["hidden_size"],
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = transformers.Qwen2_5_VLForConditionalGeneration(config).to(torch.float32).eval()
    randomise(model, ())
    model.generation_config = transformers.GenerationConfig(do_sample=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images = transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    images.save_pretrained(folder)
    processor = transformers.Qwen2_5_VLProcessor(
        images, tokenizer, transformers.Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    )
    references = [asdict(_answer(model, processor, files)) for files in IMAGES]
    (folder.parent / REFERENCES).write_text(json.dumps(references))


def _answer(model: Any, processor: Any, files: list[bytes]) -> Reference:
    import torch
    from PIL import Image

    content = [{"type": "text", "text": QUESTION}, *({"type": "image"} for _ in files)]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    inputs = processor(text=[text], images=images, return_tensors="pt")
    with torch.inference_mode():
        outputs = model.generate(
            **inputs, max_new_tokens=NUM_TOKENS, output_logits=True, return_dict_in_generate=True
        )
    prompt_ids = inputs["input_ids"][0].tolist()
    output_ids = outputs.sequences[0, len(prompt_ids) :].tolist()
    best = best_tokens(outputs.logits, output_ids, processor.tokenizer)
    return Reference(prompt_ids, output_ids, best)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
