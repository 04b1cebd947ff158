"""Keys: how they are made, found and compared."""

from __future__ import annotations

import hmac

import pytest
from tokenwire.server.access import api_key
from tokenwire.server.access.api_key import ApiKeys, make_key


def test_a_new_key_is_found_by_its_text_alone() -> None:
    """What was made is found, and neither its parts nor another key's text are."""
    alice, bob = make_key("alice"), make_key("bob")
    keys = ApiKeys([alice.key, bob.key])
    assert keys.find(alice.text) is alice.key
    assert keys.find(bob.text) is bob.key
    assert keys.find(make_key("alice").text) is None
    # The id of one with the secret of the other.
    assert keys.find(alice.text[:20] + bob.text[20:]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:0],
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.upper(),
        lambda text: text + "\n",
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\udcff",
        lambda text: text.removeprefix("tw_"),
    ],
)
def test_a_changed_text_is_no_key(change: object) -> None:
    """A text that differs in anything is nobody's, also one that is no text."""
    made = make_key("alice")
    assert callable(change)
    assert ApiKeys([made.key]).find(change(made.text)) is None


def test_nothing_kept_holds_the_text() -> None:
    """Neither the text nor its secret part is in what is kept."""
    made = make_key("alice")
    secret = made.text[20:]
    assert len(secret) == 43, "256 bits"
    assert secret not in repr(made.key)
    assert made.key.sha256 != make_key("alice").key.sha256


def test_every_text_costs_one_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, unknown and malformed alike: one hash, one comparison in constant time."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(api_key.hmac, "compare_digest", compare)
    made = [make_key(f"key-{number}") for number in range(50)]
    keys = ApiKeys([each.key for each in made])
    wrong = made[7].text[:20] + made[8].text[20:]
    for text in (made[7].text, wrong, make_key("nobody").text, "malformed"):
        compared.clear()
        keys.find(text)
        ((one, other),) = compared
        assert len(one) == len(other) == 32
