"""The PEM files of one end of TLS, checked as a whole."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..environment import ConfigurationError

_ALPN_HTTPS = ("http/1.1",)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file, with the variable that names it."""

    variable: str
    path: Path

    def read(self) -> bytes:
        """Returns what it holds.

        Raises:
            ConfigurationError: it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self.problem(
                f"cannot be read: {(error.strerror or str(error)).lower()}"
            ) from None

    def problem(self, what: str) -> ConfigurationError:
        """Returns the failure that tells `what` is wrong with the file."""
        return ConfigurationError([f"{self.variable}: {self.path} {what}"])


@dataclass(frozen=True, slots=True)
class PemTexts:
    """What the files hold; None: no such file is configured."""

    certificate: bytes | None
    key: bytes | None = field(repr=False)
    authorities: bytes | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one end of TLS shows and trusts, checked.

    `context` is for a server that speaks HTTPS, None where there is no pair to show. `valid_from_s`
    and `expires_at_s` count in seconds since 1970, and are None there, too. `hostnames` are those
    that the certificate is good for, `*.example.com` among them.
    """

    texts: PemTexts
    valid_from_s: float | None = None
    expires_at_s: float | None = None
    hostnames: tuple[str, ...] = ()
    is_self_signed: bool = False
    context: ssl.SSLContext | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PemFiles:
    """The files of one end of TLS.

    A certificate, its chain behind it, and its key, both or neither; and the authorities that the
    other end's certificate must come from.
    """

    certificate: PemFile | None = None
    key: PemFile | None = None
    authorities: PemFile | None = None

    def read(self) -> PemTexts:
        """Returns what the files hold.

        Raises:
            ConfigurationError: one cannot be read.
        """
        return PemTexts(_read(self.certificate), _read(self.key), _read(self.authorities))

    def load(self, texts: PemTexts | None = None) -> Credentials:
        """Checks the files, `texts` where they have been read just now.

        Raises:
            ConfigurationError: they cannot be used; one sentence, naming the variable.
        """
        texts = texts or self.read()
        if self.authorities is None and (self.certificate is None or self.key is None):
            return Credentials(texts)

        from . import certificates  # noqa: PLC0415 - 8 MB that nobody needs without TLS

        def read(file: PemFile, reader: Callable[[bytes], Found], text: bytes | None) -> Found:
            try:
                return reader(text or b"")
            except certificates.BadPem as error:
                raise file.problem(str(error)) from None

        if self.authorities is not None:
            read(self.authorities, certificates.check_authorities, texts.authorities)
        if self.certificate is None or self.key is None:
            return Credentials(texts)
        leaf = read(self.certificate, certificates.read_leaf, texts.certificate)
        if read(self.key, certificates.read_public_key, texts.key) != leaf.public_key:
            raise self.key.problem(
                f"does not belong to the first certificate in {self.certificate.path} "
                f"({self.certificate.variable})"
            )
        context = self._context(self.certificate, self.key)
        if self.read() != texts:  # the context took its own look at them
            raise self.certificate.problem("was replaced while it was read")
        return Credentials(
            texts,
            valid_from_s=leaf.valid_from_s,
            expires_at_s=leaf.expires_at_s,
            hostnames=leaf.hostnames,
            is_self_signed=leaf.is_self_signed,
            context=context,
        )

    def _context(self, certificate: PemFile, key: PemFile) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(_ALPN_HTTPS)
        try:
            # Always into a new context: a pair that fails leaves the one it was loaded into broken.
            context.load_cert_chain(certificate.path, key.path, password="")
        except (OSError, ssl.SSLError) as error:
            raise certificate.problem(f"cannot be used for TLS: {error.strerror}") from None
        return context


def _read(file: PemFile | None) -> bytes | None:
    return None if file is None else file.read()
