"""Ten tokenizers of the kinds that models have, trained on a page of text."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. A dog and a fox are friends; the end is near.",
    "the user asks the system; the assistant answers in the end, and the tool calls the system",
    "def add(a, b):\n    return a + b\n\nclass Word:\n    pass\n<table><tr>a</tr></table> [1, 2]",
    "I think the start of the turn is at the end of the turn: think, thinking, thought </b> </s>",
    "漢字 and emoji 👩‍💻, ünïcödé, numbers 0123456789, marks !?;:.,-_=+*/\\|<>[](){}\"'`~@#$%^&",
] * 4
WORD = "word"
"""What stands in a special token's place: one that no tokenizer here reads as such."""


@dataclass(frozen=True, slots=True)
class SmallTokenizer:
    """A tokenizer, its special tokens, and the turn that a template makes of them.

    `ordinary` are added tokens that a user may write, such as Gemma's of HTML.
    """

    name: str
    tokenizer: Tokenizer
    special: Mapping[str, int]
    open_turn: str
    close_turn: str
    unknown: tuple[int, ...] = ()
    ordinary: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        """A template that makes a turn of each message, and opens the next."""
        return (
            "{% for message in messages %}"
            f"{self.open_turn}{{{{ message['role'] }}}}\n{{{{ message['content'] | trim }}}}"
            f"{self.close_turn}\n{{% endfor %}}{self.open_turn}assistant\n"
        )

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>")
LLAMA = ("<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<SYS>")
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>")
THINKING = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>")


def _byte_level(pre_tokenizer: Any = None, special: tuple[str, ...] = CHATML) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _split_like_llama_3() -> Any:
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _ignoring_merges() -> Tokenizer:
    """Gives a whole word at once where the vocabulary has it, as Llama 3 does."""
    words = json.loads(_byte_level(_split_like_llama_3()).to_str())
    words["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(words))


BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def _metaspace(
    special: tuple[str, ...], normalizer: Any, pre_tokenizer: Any, extra: tuple[str, ...] = ()
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", *special, *extra, *BYTES], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = _space_decoder()
    # The trainer makes special tokens of the bytes, which are a part of the model.
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        token | {"special": token["content"] not in extra}
        for token in content["added_tokens"]
        if token["content"] not in BYTES
    ]
    return Tokenizer.from_str(json.dumps(content))


def _space_decoder() -> Any:
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def _prepending() -> Any:
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def _unigram(special: tuple[str, ...], *, bytes_: bool, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", *special], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = _space_decoder()
    if not bytes_:
        return tokenizer
    content = json.loads(tokenizer.to_str())
    content["model"]["vocab"] += [[piece, -20.0] for piece in BYTES]
    content["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(content))


def _with_added(tokenizer: Tokenizer, *tokens: AddedToken) -> Tokenizer:
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def _plain_token(text: str) -> AddedToken:
    return AddedToken(text, special=False, normalized=False)


def _stripping(text: str) -> AddedToken:
    """Takes the white space behind it, as those of Phi 3 do."""
    return AddedToken(text, special=True, normalized=False, rstrip=True)


def _made(
    name: str, tokenizer: Tokenizer, open_turn: str, close_turn: str, *ordinary: str
) -> SmallTokenizer:
    added = tokenizer.get_added_tokens_decoder()
    special = {token.content: id_ for id_, token in added.items() if token.content not in ordinary}
    unknown = tokenizer.token_to_id("<unk>")
    return SmallTokenizer(
        name,
        tokenizer,
        special,
        open_turn,
        close_turn,
        () if unknown is None else (unknown,),
        ordinary,
    )


def _stripping_tokens() -> Tokenizer:
    tokenizer = _metaspace(LLAMA[:2], _prepending(), None)
    tokenizer.add_special_tokens([_stripping(text) for text in ("<|user|>", "<|end|>")])
    return tokenizer


_MAKERS: dict[str, Callable[[str], SmallTokenizer]] = {
    "byte-level": lambda name: _made(name, _byte_level(), *CHATML[:2]),
    "ignore-merges": lambda name: _made(name, _ignoring_merges(), *CHATML[:2]),
    "prepended": lambda name: _made(
        name, _metaspace(LLAMA, _prepending(), None), "[INST]", "[/INST]"
    ),
    "prepended-once": lambda name: _made(
        name,
        _metaspace(LLAMA, None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
        "[INST]",
        "[/INST]",
    ),
    "gemma": lambda name: _made(
        name,
        _metaspace(
            GEMMA, normalizers.Replace(" ", "▁"), None, extra=("<table>", "</table>", "\n\n")
        ),
        *GEMMA[2:4],
        "<table>",
        "</table>",
        "\n\n",
    ),
    "unigram-bytes": lambda name: _made(name, _unigram(LLAMA, bytes_=True), "[INST]", "[/INST]"),
    "unigram-unknown": lambda name: _made(name, _unigram(GEMMA, bytes_=False), *GEMMA[2:4]),
    "unigram-normalised": lambda name: _made(
        name, _unigram(GEMMA, bytes_=True, normalizer=normalizers.NFKC()), *GEMMA[2:4]
    ),
    "thinking": lambda name: _made(
        name, _with_added(_byte_level(), *map(_plain_token, THINKING)), *CHATML[:2]
    ),
    "stripping": lambda name: _made(name, _stripping_tokens(), "<|user|>", "<|end|>"),
}
NAMES = tuple(_MAKERS)


@functools.cache
def make(name: str) -> SmallTokenizer:
    """Trains one of them, in a fraction of a second."""
    return _MAKERS[name](name)
