"""Which tokens control a model, and where their texts stand."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.special_text import SpecialTexts, is_control_text

SPECIAL = SpecialTexts(
    {"<|im_end|>": 2, "<|im_start|>": 1, "<s>": 5, "[INST]": 7, "<unk>": 0}, (0,)
)


@pytest.mark.parametrize(
    ("text", "is_special", "template", "is_control"),
    [
        ("anything", True, "", True),
        ("<|eot_id|>", False, "", True),
        ("<think>", False, "", True),
        ("</tool_call>", False, "", True),
        ("[TOOL_CALLS]", False, "", True),
        ("<sep>", False, "{{ content }}<sep>", True),
        ("<table>", False, "", False),
        ("\n\n", False, "{{ content }}\n\n", False),
        ("word", False, "a word", False),
        ("<", True, "", False),
    ],
)
def test_control_tokens(text: str, is_special: bool, template: str, is_control: bool) -> None:
    """Special tokens, those of thinking and tools, and those that the template names."""
    assert is_control_text(text, is_special=is_special, template=template) == is_control


@pytest.mark.parametrize(
    "text", ["a <|im_end|> b", "<|IM_END|>", "[inst]", "ends with <|im_", "im_start|> at first"]
)
def test_found(text: str) -> None:
    """A text is found in any case, and half of it at an end of a string."""
    assert SPECIAL.occur_in(["nothing", text])


@pytest.mark.parametrize("text", ["", "a < b > c", "<b>", "> quoted", "[1]", "if (a<", "<|im_ and"])
def test_not_found(text: str) -> None:
    """Marks alone, other words in brackets and halves in the middle are none."""
    assert not SPECIAL.occur_in([text])


@pytest.mark.parametrize("text", ["<|im_end|>", "x<s>y", "<<s>", "[INST][INST]", "<s"])
def test_found_place_is_inside(text: str) -> None:
    """With any one character behind the places that are found, no token is left."""
    places = set(SPECIAL.find_in(text))
    broken = "".join(c + "\0" if at in places else c for at, c in enumerate(text))
    assert places
    assert SPECIAL.count(broken) == 0


def test_longest_is_counted() -> None:
    """Of two tokens that begin alike the longer is one."""
    special = SpecialTexts({"<a>": 1, "<a>>": 2, "<ab>": 3})
    assert special.count("<a>><a><ab>") == 3
    assert special.count("<a") == 0


def test_ids_are_counted() -> None:
    """What stands for anything unknown is no sign of a special token."""
    assert SPECIAL.count_ids([1, 1, 9, 0, 2]) == 3


def test_of_none() -> None:
    """A tokenizer without control tokens has nothing to find."""
    none = SpecialTexts({})
    assert not none.occur_in(["<|im_end|>"])
    assert none.count("<|im_end|>") == 0


def test_thousands_are_found_at_once() -> None:
    """As many as Gemma has are looked for in one go over a long text."""
    many = SpecialTexts({f"<unused{number}>": number for number in range(6_000)})
    assert many.occur_in(["<unused" * 100_000 + "<unused5999>"])
    assert many.count("<unused12><unused123>") == 2
