"""Our grammars in the place of SGLang's own, without an engine around them."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, logging, os
from tokenwire.server.engines.sglang.cpu import (
    cpu_environment, hide_gpu_packages, offer_kernel_stand_in,
)
os.environ.update(cpu_environment(1))
hide_gpu_packages()
offer_kernel_stand_in()
from tokenwire.server.engines.sglang import grammar_backend
grammar_backend.offer()
from sglang.srt.constrained.base_grammar_backend import GRAMMAR_BACKEND_REGISTRY
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate([*letters, "<end>"])}, []))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
make = GRAMMAR_BACKEND_REGISTRY["llguidance"]
backend = make(None, fast, len(fast), {fast.eos_token_id})
compiled = backend._init_value_dispatch(("ebnf", '%llguidance {}\\nstart: "no"'), False)
whole = compiled.copy()
for token in [*fast("no", add_special_tokens=False)["input_ids"], fast.eos_token_id]:
    whole.accept_token(token)
bad = backend._init_value_dispatch(("ebnf", "%llguidance {}\\nstart: SECRET"), False)
for number in range(grammar_backend.MAX_CACHED + 50):
    backend.set_cache(("ebnf", str(number)), compiled)
backend.set_cache(("ebnf", "60"), compiled)
print(json.dumps({
    "is_over": whole.is_terminated(),
    "error": bad.error_message,
    "num_cached": len(backend.cache),
    "last": list(backend.cache)[-1][1],
    "without": make(None, object(), 5, None),
}))
"""


def test_grammars_are_kept_bounded_and_quiet() -> None:
    """A text ends with its grammar, the last ones are kept, and none of their text is told.

    Takes the imports of SGLang.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "is_over": True,
        "error": "the grammar does not compile here",
        "num_cached": 128,
        "last": "60",
        "without": None,
    }
    assert "SECRET" not in done.stdout + done.stderr
