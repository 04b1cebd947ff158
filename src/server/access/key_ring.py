"""The keys in force: those of the file as it was when it was last right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog

from ...environment import ConfigurationError
from ...generated.tokenwire.v1 import inference_pb2, tokenizer_pb2
from ..settings.access_settings import RESOURCES, AccessSettings
from .api_key import ApiKeys
from .key_file import KeyFileBroken, parse_keys

VARIABLE: Final = "LLM_API_KEYS_FILE"
# A file system has no word for its changes that every volume of a container passes on.
READ_INTERVAL_S: Final = 1.0

_logger = structlog.get_logger(__name__)


class KeyRing:
    """Reads the file of keys at the start, and again whenever it changed while it is watched.

    `on_failure` is told of each state of the file that could not be taken; the keys before it stay
    in force.
    """

    def __init__(
        self, path: Path, calls: Collection[str], on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Reads the file.

        Raises:
            ConfigurationError: it cannot be read or has mistakes; names variable, line and field.
        """
        self._path = path
        self._calls = calls
        self._on_failure = on_failure
        try:
            self._seen: bytes | str = path.read_bytes()
            self.keys: ApiKeys = parse_keys(self._seen, calls)
        except OSError as error:
            raise ConfigurationError([f"{VARIABLE}: {path}: {error.strerror}"]) from None
        except KeyFileBroken as error:
            raise ConfigurationError(
                [f"{VARIABLE}: {path}: {problem}" for problem in error.problems]
            ) from None

    async def watch(self, interval_s: float = READ_INTERVAL_S) -> None:
        """Takes every change of the file, until cancelled; warns where it holds no key."""
        self._warn_of_none()
        while True:
            await asyncio.sleep(interval_s)
            try:
                await asyncio.to_thread(self.reload)
            except Exception:  # the next state of the file is looked at all the same
                self._on_failure()
                _logger.exception(
                    "keys_not_read",
                    file=str(self._path),
                    num_keys_in_force=len(self.keys.by_name),
                )

    def reload(self) -> None:
        """Takes the file as it is now, if it is another and right."""
        try:
            data: bytes | str = self._path.read_bytes()
        except OSError as error:
            data = error.strerror or type(error).__name__
        # What was told once is not told again, however long it stays.
        if data == self._seen:
            return
        self._seen = data
        try:
            if isinstance(data, str):
                raise KeyFileBroken([data])
            keys = parse_keys(data, self._calls)
        except KeyFileBroken as error:
            self._on_failure()
            _logger.error(
                "keys_not_taken",
                file=str(self._path),
                problems=error.problems,
                num_keys_in_force=len(self.keys.by_name),
            )
            return
        before, self.keys = self.keys, keys
        _logger.info(
            "keys_taken",
            num_keys=len(keys.by_name),
            added=sorted(keys.by_name.keys() - before.by_name.keys()),
            removed=sorted(before.by_name.keys() - keys.by_name.keys()),
        )
        self._warn_of_none()

    def _warn_of_none(self) -> None:
        if not self.keys.by_name:
            _logger.warning(
                "no_keys_in_force",
                file=str(self._path),
                advice="every call that needs a key is refused; tokenwire keys new makes one",
            )


def read_keys(
    settings: AccessSettings, on_failure: Callable[[], None] = lambda: None
) -> KeyRing | None:
    """Reads the file of keys, where there is one.

    Raises:
        ConfigurationError: it cannot be read or has mistakes; names variable, line and field.
    """
    if settings.api_keys_file is None:
        return None
    services = (
        inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
        tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"],
    )
    methods = (method.name for service in services for method in service.methods)
    calls = (*methods, *RESOURCES)
    return KeyRing(settings.api_keys_file, calls, on_failure)
