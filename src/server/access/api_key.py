"""An API key: how one is made, what is kept of it, and how a caller's is told from another."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..settings.access_settings import RESOURCES

NUM_ID_BYTES: Final = 8
NUM_SALT_BYTES: Final = 16
NUM_HASH_BYTES: Final = hashlib.sha256().digest_size
_NUM_SECRET_BYTES = 32
# `tw_`, the id in hexadecimal, and the secret: 256 random bits in base64.
_FORM = re.compile(r"tw_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None: as much as the server has."""

    max_in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key: a salted hash of its text, and what it is good for.

    `models` is None where every one is allowed, and `calls` where every call of inference and of
    the tokenizer is. `expires` has an offset.
    """

    name: str
    key_id: str
    salt: bytes
    sha256: bytes
    models: frozenset[str] | None = None
    calls: frozenset[str] | None = None
    expires: datetime | None = None
    limits: Limits = Limits()

    def allows_model(self, model: str) -> bool:
        """Whether the key is good for a model or an adapter of this name."""
        return self.models is None or model in self.models

    def allows_call(self, call: str) -> bool:
        """Whether the key is good for calls of this name."""
        # Metrics and reflection tell of other keys, and of what else is served.
        return call not in RESOURCES if self.calls is None else call in self.calls


# What the key of a caller whom nobody knows is compared with: it takes as long as any other, and
# no text is known to have a hash of zeros.
_NOBODY = ApiKey("", "", bytes(NUM_SALT_BYTES), bytes(NUM_HASH_BYTES))


class ApiKeys:
    """Keys, found by the id inside the text of each: no more than one hash for each caller."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self.by_name = {key.name: key for key in keys}
        self._by_id = {key.key_id: key for key in self.by_name.values()}

    def find(self, text: str) -> ApiKey | None:
        """Returns the key with this text, None where there is none."""
        form = _FORM.fullmatch(text)
        key = self._by_id.get(form[1], _NOBODY) if form else _NOBODY
        # The same work whether the id is known or not.
        is_right = hmac.compare_digest(_hash(key.salt, text), key.sha256)
        return key if is_right else None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has just been made. Its text is kept nowhere."""

    text: str
    key: ApiKey


def make_key(name: str) -> NewKey:
    """Makes a key that nobody can guess."""
    key_id = secrets.token_hex(NUM_ID_BYTES)
    text = f"tw_{key_id}_{secrets.token_urlsafe(_NUM_SECRET_BYTES)}"
    salt = secrets.token_bytes(NUM_SALT_BYTES)
    return NewKey(text, ApiKey(name, key_id, salt, _hash(salt, text)))


def _hash(salt: bytes, text: str) -> bytes:
    # A slow hash protects what people choose; these are 256 random bits, beyond any search.
    return hashlib.sha256(salt + text.encode("utf-8", "surrogateescape")).digest()
