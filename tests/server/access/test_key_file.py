"""The file of keys: what it may hold, and how its mistakes are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tokenwire.server.access.api_key import ApiKey, Limits, make_key
from tokenwire.server.access.key_file import KeyFileBroken, parse_keys

from ..key_files import lines_of

CALLS = ("Chat", "ListModels", "metrics")
ALICE, BOB = make_key("alice"), make_key("bob.smith")


def parse(text: str) -> dict[str, ApiKey]:
    return parse_keys(text.encode(), CALLS).by_name


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(KeyFileBroken) as raised:
        parse_keys(text if isinstance(text, bytes) else text.encode(), CALLS)
    return raised.value.problems


def test_a_bare_key_may_use_every_model() -> None:
    """The three lines of a key are enough for every call to models: no end, no limits."""
    key = parse(lines_of(ALICE))["alice"]
    assert key == ALICE.key
    assert key.limits == Limits(None, None, None)
    assert key.allows_model("any/model")
    assert key.allows_call("Chat")
    assert key.expires is None


@pytest.mark.parametrize("resource", ["metrics", "reflection", "swagger"])
def test_what_tells_of_others_must_be_named(resource: str) -> None:
    """Without `calls` a key is for models and tokenizers alone."""
    calls = (resource, "Chat")
    keys = parse_keys((lines_of(ALICE) + lines_of(BOB, f'calls = ["{resource}"]')).encode(), calls)
    assert not keys.by_name["alice"].allows_call(resource)
    assert keys.by_name["bob.smith"].allows_call(resource)


def test_every_field_is_read() -> None:
    """Scopes, expiry and limits are those of the file; other keys are not touched."""
    keys = parse(
        lines_of(
            ALICE,
            'models = ["a/b", "lora"]\ncalls = ["Chat"]\nexpires = 2027-01-31T01:00:00+01:00\n'
            "max_in_flight = 4\nrequests_per_minute = 60\ntokens_per_minute = 1000",
        )
        + lines_of(BOB)
    )
    alice = keys["alice"]
    assert (alice.models, alice.calls) == ({"a/b", "lora"}, {"Chat"})
    assert alice.expires == datetime(2027, 1, 31, tzinfo=UTC)
    assert alice.limits == Limits(4, 60, 1000)
    assert not alice.allows_model("a/c")
    assert not alice.allows_call("ListModels")
    assert keys["bob.smith"] == BOB.key


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("models = []", "line 5: keys.alice.models: takes a list of names"),
        ("models = 'a/b'", "line 5: keys.alice.models: takes a list of names"),
        ('models = ["a", 1]', "line 5: keys.alice.models: takes a list of names"),
        ('calls = ["Chat", "Sing"]', "line 5: keys.alice.calls: takes some of Chat, ListModels"),
        ("expires = '2027-01-31'", "line 5: keys.alice.expires: takes a time with its offset"),
        ("expires = 2027-01-31", "line 5: keys.alice.expires: takes a time with its offset"),
        ("expires = 2027-01-31T00:00:00", "line 5: keys.alice.expires: takes a time with its"),
        ("max_in_flight = 0", "line 5: keys.alice.max_in_flight: takes a whole number from"),
        ("max_in_flight = true", "line 5: keys.alice.max_in_flight: takes a whole number from"),
        ("requests_per_minute = 1.5", "line 5: keys.alice.requests_per_minute: takes a whole"),
        ("\ntokens_per_minute = '9'", "line 6: keys.alice.tokens_per_minute: takes a whole"),
        ("model = ['a/b']", "line 5: keys.alice.model: is no field of a key; did you mean models?"),
        ("id = 'x'", "is not TOML: Cannot overwrite a value (at line 5, column 9)"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(fields: str, problem: str) -> None:
    """Line, field, and what it takes."""
    (told,) = problems(lines_of(ALICE, fields))
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no key; each is a table [keys.NAME]"),
        ("# nobody\n", "holds no key; each is a table [keys.NAME]"),
        ("keys = 1\n", "holds no key; each is a table [keys.NAME]"),
        ("[keys]\nalice = 1\n", "keys.alice: takes a table [keys.alice]"),
        ("[keys.alice\n", "is not TOML: "),
        (b"\xff", "is not UTF-8"),
        ("x = " + "[" * 100_000, "is not TOML: it is nested too deep"),
        ("x = " + "9" * 5_000, "is not TOML: "),
    ],
)
def test_what_is_no_file_of_keys(text: str | bytes, problem: str) -> None:
    """No key at all, no TOML, no text: each is told."""
    assert problems(text)[0].startswith(problem)


@pytest.mark.parametrize("text", ["[keys]\n", "keys = {}\n", "# nobody\n[keys]\n"])
def test_an_empty_table_is_no_keys(text: str) -> None:
    """Nobody writes it by accident, and it is the last key's revocation."""
    assert parse(text) == {}


def test_every_mistake_is_told_at_once() -> None:
    """Of all keys; missing fields and ids that two keys share among them."""
    told = problems(
        "[key.alice]\n"
        + lines_of(ALICE)
        + lines_of(BOB).replace(BOB.key.key_id, ALICE.key.key_id)
        + '[keys.carol]\nid = "0123456789abcdef"\nsalt = "no"\n'
    )
    assert told == [
        "'key' is unknown; a key is a table [keys.NAME]",
        "line 8: keys.bob.smith.id: is that of 'alice', too",
        "line 14: keys.carol.salt: takes 32 hexadecimal digits in lower case, "
        "as `tokenwire keys new` prints them",
        "line 12: keys.carol.sha256: takes 64 hexadecimal digits in lower case, "
        "as `tokenwire keys new` prints them",
    ]


def test_a_pasted_key_is_not_told() -> None:
    """A key's own text, put where its hash belongs, is in no message."""
    (told,) = problems(lines_of(ALICE).replace(ALICE.key.sha256.hex(), ALICE.text))
    assert "tw_" not in told


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a" * 65, "a\nb"])
def test_names_stay_fit_for_logs_and_metrics(name: str) -> None:
    """What could break a line, or is longer than a label should be, is no name."""
    escaped = name.replace("\n", "\\n")
    (told,) = problems(lines_of(ALICE).replace('"alice"', f'"{escaped}"'))
    assert "is no name of a key" in told


def test_a_name_at_its_limit_and_above() -> None:
    """64 characters are a name, 65 are none."""
    for number in (63, 64):
        name = "a" * number
        assert name in parse(lines_of(ALICE).replace('"alice"', f'"{name}"'))
    (told,) = problems(lines_of(ALICE).replace('"alice"', f'"{"a" * 65}"'))
    assert "up to 64 letters" in told


@pytest.mark.parametrize("field", ["max_in_flight", "requests_per_minute", "tokens_per_minute"])
def test_a_limit_at_its_ends_and_beyond(field: str) -> None:
    """A limit is from 1 to 2^53, which every JSON can tell; beyond both ends are told."""
    for number in (1, 2**53):
        key = parse(lines_of(ALICE, f"{field} = {number}"))["alice"]
        assert getattr(key.limits, field) == number
    for number in (0, 2**53 + 1):
        (told,) = problems(lines_of(ALICE, f"{field} = {number}"))
        assert told.endswith(f"{field}: takes a whole number from 1 to 9007199254740992")
