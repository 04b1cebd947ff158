"""How every engine tokenises by itself."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import PlainText, TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import GREEDY, PARIS, Contract, drain, request_for

TEXTS = (
    "The capital of France is",
    "  two spaces,\ta tab\nand a line",
    "日本語のテキスト",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 and e\u0301",  # joiners, and a combining mark
    "<|im_start|>user\nHi<|im_end|>",
    "",
)


class TokenizerContract(Contract):
    """How every engine tokenises by itself."""

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("parse_special", [False, True])
    async def test_text_comes_back(self, engine: Engine, text: str, parse_special: bool) -> None:
        """A text's tokens stand for the text, and so do their pieces, one a token."""
        asked = PlainText(text, parse_special=parse_special, wants_pieces=True)
        tokenized = await engine.tokenize(asked)
        assert len(tokenized.pieces) == len(tokenized.token_ids)
        assert b"".join(tokenized.pieces) == text.encode()
        assert await engine.detokenize(tokenized.token_ids) == text.encode()
        without = await engine.tokenize(PlainText(text, parse_special=parse_special))
        assert (without.token_ids, without.pieces) == (tokenized.token_ids, ())

    async def test_special_tokens_are_read_on_request(self, engine: Engine) -> None:
        """The name of a special token is that token where it is asked for, and text otherwise."""
        end = "<|im_end|>"
        read = await engine.tokenize(PlainText(end, parse_special=True))
        literal = await engine.tokenize(PlainText(end))
        assert len(read.token_ids) == 1
        assert read.token_ids[0] not in literal.token_ids
        # In this order again: what one call asks for is no state of the tokenizer.
        assert await engine.tokenize(PlainText(end, parse_special=True)) == read

    async def test_prompt_is_read_the_same(self, engine: Engine) -> None:
        """A text prompt has the tokens of the text with special tokens read and added."""
        text = "Hello<|im_end|>\nthere"
        asked = PlainText(text, add_special=True, parse_special=True)
        rendered = await engine.render(TextPrompt(text))
        assert (await engine.tokenize(asked)).token_ids == rendered.token_ids

    async def test_part_of_a_character_is_its_bytes(self, engine: Engine) -> None:
        """Tokens that end within a character stand for the bytes that there are."""
        tokenized = await engine.tokenize(PlainText("a🦩", wants_pieces=True))
        assert len(tokenized.token_ids) > 2
        for end in range(len(tokenized.token_ids) + 1):
            data = await engine.detokenize(tokenized.token_ids[:end])
            assert data == b"".join(tokenized.pieces[:end])

    @pytest.mark.parametrize("token_id", [49_152, 2**32 - 1])
    async def test_foreign_token_is_refused(self, engine: Engine, token_id: int) -> None:
        """An id outside the vocabulary is refused, naming the field, and nothing is hurt."""
        with pytest.raises(InvalidRequest) as caught:
            await engine.detokenize(TokenIds.of((1, token_id)))
        assert [field for field, _ in caught.value.violations] == ["token_ids"]
        assert await engine.detokenize(TokenIds()) == b""

    async def test_tokenize_while_generating(self, engine: Engine) -> None:
        """Tokenising needs no slot and disturbs no stream."""
        rendered = await engine.render(PARIS)
        params = replace(GREEDY, max_tokens=8)
        alone = (await drain(engine.generate(request_for(rendered, params)))).text
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            first = await anext(events)
            ids = (await engine.tokenize(PlainText(TEXTS[0]))).token_ids
            assert await engine.detokenize(ids) == TEXTS[0].encode()
            rest = await drain(events)
        assert replace(rest, events=(first, *rest.events)).text == alone
