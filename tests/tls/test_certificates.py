"""What the texts of certificates and keys say."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tokenwire.tls.certificates import BadPem, check_authorities, read_leaf, read_public_key

from ..certificates import HOSTNAME, PairFiles, chain_of, der_of

EC_KEY = bytes.fromhex("06072a8648ce3d0201")  # id-ecPublicKey, as a certificate says it
NO_KEY = bytes.fromhex("06072a8648ce3d027f")


@pytest.fixture
def leaf(tmp_path: Path) -> trustme.LeafCert:
    """A certificate with an elliptic curve, its authority's behind it."""
    return PairFiles(tmp_path).issue(HOSTNAME, days=30)


def test_leaf(leaf: trustme.LeafCert) -> None:
    """The first certificate counts, and its key is the public part of the private one."""
    text = chain_of(leaf)
    check_authorities(text)
    found = read_leaf(text)
    assert found.hostnames == (HOSTNAME,)
    assert not found.is_self_signed
    assert found.valid_from_s < found.expires_at_s
    assert found.public_key == read_public_key(leaf.private_key_pem.bytes())
    der = found.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert der in der_of(leaf)


def test_unknown_kind(leaf: trustme.LeafCert) -> None:
    """A certificate whose key is of a kind that nobody knows is told as one."""
    der = der_of(leaf)
    assert EC_KEY in der
    text = ssl.DER_cert_to_PEM_cert(der.replace(EC_KEY, NO_KEY)).encode()
    check_authorities(text)
    with pytest.raises(BadPem, match="holds a certificate of an unknown kind"):
        read_leaf(text)


def test_something_else(leaf: trustme.LeafCert) -> None:
    """A key where a certificate should be, and the other way round."""
    key = leaf.private_key_pem.bytes()
    for read in (check_authorities, read_leaf):
        with pytest.raises(BadPem, match="holds no certificate in PEM form"):
            read(key)
    with pytest.raises(BadPem, match="holds no private key in PEM form"):
        read_public_key(chain_of(leaf))
