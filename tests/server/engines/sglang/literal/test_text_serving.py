"""SGLang's chat code gives the text of a prompt, where it has a tokenizer that lets it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tokenwire.server.engines.sglang.literal.text_serving import read_codes, text_serving


class Tokenizer:
    """As one of transformers behaves, so far as SGLang's chat code asks."""

    bos_token_id = 7
    is_fast = True
    name = "real"

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [7] * add_special_tokens + [100 + len(text)] * bool(text)

    def apply_chat_template(self, conversation: Any, tokenize: bool, **options: Any) -> str:
        assert not tokenize
        return f"<{conversation}{options or ''}>"


def serving() -> Any:
    """The arguments of a chat serving, as it would see them."""
    manager = SimpleNamespace(tokenizer=Tokenizer(), server_args="args")
    return text_serving(manager, "templates", lambda *made: SimpleNamespace(made=made))


def test_everything_else_is_the_real_one() -> None:
    """Manager and tokenizer are what they were, but for what makes ids."""
    manager, templates = serving().made
    assert (manager.server_args, templates) == ("args", "templates")
    assert (manager.tokenizer.name, manager.tokenizer.bos_token_id) == ("real", 7)
    assert not manager.tokenizer.is_fast  # so that no faster way past `encode` is taken


def test_text_is_had_back() -> None:
    """The ids are the text, behind what the tokenizer puts before it."""
    tokenizer = serving().made[0].tokenizer
    assert read_codes(tokenizer.encode("漢字 👍", add_special_tokens=False)) == ([], "漢字 👍")
    assert read_codes(tokenizer.encode("a")) == ([7], "a")
    assert read_codes([]) == ([], "")


def test_template_gives_text_or_ids() -> None:
    """A template that is asked for ids gives the text all the same."""
    tokenizer = serving().made[0].tokenizer
    assert tokenizer.apply_chat_template("a", tokenize=False) == "<a>"
    assert read_codes(tokenizer.apply_chat_template("a")) == ([], "<a>")
    assert tokenizer.apply_chat_template("a", return_dict=True)["input_ids"] == [*map(ord, "<a>")]
