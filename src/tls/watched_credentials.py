"""TLS of the two doors: the credentials in force, and what is made of them for a server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import cast

import grpc
import structlog

from ..environment import ConfigurationError
from ..lifecycle import running_beside
from .pem_files import Credentials, PemFiles, PemTexts

_logger = structlog.get_logger(__name__)

# Files are asked, as no notice of a change comes from a network's file system.
_LOOK_AGAIN_S = 1.0


class WatchedCredentials:
    """The credentials in force of one end of TLS.

    Files are read again while `watching`; what cannot be used leaves the last good ones in force.

    Raises:
        ConfigurationError: the files cannot be used.
    """

    def __init__(self, files: PemFiles, door: str) -> None:
        self.current = files.load()
        self.num_failed_reloads = 0
        self.door = door
        self.on_change: Callable[[Credentials], None] | None = None
        self._files = files
        self._seen: PemTexts | None = self.current.texts
        self._failure = ""
        self._is_told = False
        self._warn_of_dates()

    def look(self) -> bool:
        """Reads the files; True where other credentials are in force now.

        It blocks while it reads. What fails at two looks in a row is logged and counted, once.
        """
        try:
            texts = self._files.read()
            if texts == self._seen:
                return False
            self._seen = texts
            loaded = self._files.load(texts)
        except ConfigurationError as error:
            self._fail(str(error))
            return False
        self._failure = ""
        if loaded == self.current:
            return False
        self.current = loaded
        _logger.info("tls_files_reloaded", door=self.door, expires_at=_iso(loaded.expires_at_s))
        self._warn_of_dates()
        return True

    def https_context(self) -> ssl.SSLContext:
        """Returns a context for a server; each handshake gets the credentials then in force."""
        context = self._current_context()

        def show_current(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            connection.context = self._current_context()

        # Called in every handshake, also where the client names no server.
        context.sni_callback = show_current
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns credentials for a gRPC server; each handshake gets those then in force.

        A client must show a certificate where authorities for it are configured.
        """
        shown = self.current

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # On a thread of gRPC's own, one handshake after another. None: as before.
            nonlocal shown
            current = self.current
            if current is shown:
                return None
            shown = current
            return _grpc_configuration(current.texts)

        return grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(shown.texts),
            # The types know nothing of None, which the documentation tells of.
            cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch),
            require_client_authentication=shown.texts.authorities is not None,
        )

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Takes up files that are replaced, until the block ends."""
        async with running_beside(self._watch(), f"tls-{self.door}"):
            yield

    def _current_context(self) -> ssl.SSLContext:
        context = self.current.context
        assert context is not None, "a server has a pair to show"
        return context

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            try:
                if await asyncio.to_thread(self.look) and self.on_change is not None:
                    self.on_change(self.current)
            except Exception:
                # Whatever stands in the files: the next ones are looked at.
                _logger.exception("tls_watch_failed", door=self.door)

    def _fail(self, failure: str) -> None:
        self._seen = None  # the same files may be whole, or readable, the next time
        if failure != self._failure:
            # Two files are seldom replaced in one step: what is still so at the next look is told.
            self._failure, self._is_told = failure, False
        elif not self._is_told:
            self._is_told = True
            self.num_failed_reloads += 1
            _logger.error("tls_reload_failed", door=self.door, problem=failure)

    def _warn_of_dates(self) -> None:
        valid_from_s, expires_at_s = self.current.valid_from_s, self.current.expires_at_s
        if valid_from_s is not None and valid_from_s > _now().timestamp():
            _logger.warning(
                "tls_certificate_not_yet_valid", door=self.door, valid_from=_iso(valid_from_s)
            )
        if expires_at_s is not None and expires_at_s <= _now().timestamp():
            _logger.warning(
                "tls_certificate_expired", door=self.door, expires_at=_iso(expires_at_s)
            )


def _grpc_configuration(texts: PemTexts) -> grpc.ServerCertificateConfiguration:
    assert texts.key is not None, "a server has a pair to show"
    assert texts.certificate is not None
    return grpc.ssl_server_certificate_configuration(
        [(texts.key, texts.certificate)], texts.authorities
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _iso(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.datetime.fromtimestamp(at_s, datetime.UTC).isoformat()
