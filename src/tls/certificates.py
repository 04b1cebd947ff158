"""Certificates and private keys in PEM form, as `cryptography` reads them.

Whoever has no TLS need not import this: the library takes 8 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class BadPem(Exception):
    """A text is not what it should be; the message goes on where the file was named."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What the first certificate of a file says; times are in seconds since 1970."""

    public_key: PublicKeyTypes
    valid_from_s: float
    expires_at_s: float
    hostnames: tuple[str, ...]
    is_self_signed: bool


def check_authorities(text: bytes) -> None:
    """Checks that a text holds certificates.

    Raises:
        BadPem: it holds none.
    """
    _certificates(text)


def read_leaf(text: bytes) -> Leaf:
    """Reads the first certificate, which those of its authorities may follow.

    Raises:
        BadPem: there is none, or it is of an unknown kind.
    """
    first = _certificates(text)[0]
    try:
        return Leaf(
            first.public_key(),
            first.not_valid_before_utc.timestamp(),
            first.not_valid_after_utc.timestamp(),
            _hostnames(first),
            first.issuer == first.subject,
        )
    except (ValueError, UnsupportedAlgorithm):
        raise BadPem("holds a certificate of an unknown kind") from None


def read_public_key(text: bytes) -> PublicKeyTypes:
    """Reads a private key and returns its public one.

    Raises:
        BadPem: it is encrypted, or there is none.
    """
    try:
        return load_pem_private_key(text, password=None).public_key()
    except TypeError:  # it asks for a password
        raise BadPem("is encrypted: the server has no password for it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadPem("holds no private key in PEM form") from None


def _certificates(text: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise BadPem("holds no certificate in PEM form") from None


def _hostnames(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))
