"""What is wrong with the files of TLS, told in one sentence that names the variable."""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tokenwire.environment import ConfigurationError
from tokenwire.tls.pem_files import PemFile, PemFiles

from ..certificates import HOSTNAME, PairFiles


@pytest.fixture
def pair(tmp_path: Path) -> PairFiles:
    return PairFiles(tmp_path)


def problem_of(files: PemFiles) -> str:
    with pytest.raises(ConfigurationError) as raised:
        files.load()
    (problem,) = raised.value.problems
    return problem


def test_a_whole_pair(pair: PairFiles) -> None:
    """A pair is read with its names and its end."""
    pair.replace(HOSTNAME, "*.example.org", "127.0.0.1", days=30)
    loaded = pair.pem_files(has_authorities=True).load()
    assert loaded.texts.key == pair.key.read_bytes()
    assert loaded.texts.authorities == pair.authorities.read_bytes()
    assert loaded.hostnames == (HOSTNAME, "*.example.org")
    assert not loaded.is_self_signed
    assert loaded.expires_at_s is not None
    left = datetime.timedelta(seconds=loaded.expires_at_s - time.time())
    assert datetime.timedelta(days=29) < left <= datetime.timedelta(days=30)


def test_authorities_alone(pair: PairFiles) -> None:
    """A client that shows no certificate has authorities and nothing else."""
    loaded = PemFiles(authorities=PemFile("CA", pair.authorities)).load()
    assert (loaded.texts.certificate, loaded.context, loaded.expires_at_s) == (None, None, None)


def test_an_expired_pair_is_whole(pair: PairFiles) -> None:
    """What has expired can be loaded: whoever serves it is warned."""
    pair.replace(days=-1)
    loaded = pair.pem_files().load()
    assert loaded.expires_at_s is not None
    assert loaded.expires_at_s < time.time()


def test_private_keys_are_not_shown(pair: PairFiles) -> None:
    """A key does not get into a log with the values that hold it."""
    assert "PRIVATE KEY" not in repr(pair.pem_files().load())


def test_missing_file(pair: PairFiles) -> None:
    """A file that is not there."""
    pair.key.unlink()
    assert problem_of(pair.pem_files()) == (
        f"TLS_SERVER_KEY_PATH: {pair.key} cannot be read: no such file or directory"
    )


def test_a_folder(pair: PairFiles, tmp_path: Path) -> None:
    """A path that is no file."""
    files = PemFiles(PemFile("TLS_SERVER_CERT_PATH", tmp_path), PemFile("KEY", pair.key))
    assert problem_of(files) == f"TLS_SERVER_CERT_PATH: {tmp_path} cannot be read: is a directory"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"garbage\x00\xff",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
@pytest.mark.parametrize(
    ("attribute", "variable", "what"),
    [
        ("certificate", "TLS_SERVER_CERT_PATH", "holds no certificate in PEM form"),
        ("key", "TLS_SERVER_KEY_PATH", "holds no private key in PEM form"),
        ("authorities", "TLS_CLIENT_CA_PATH", "holds no certificate in PEM form"),
    ],
)
def test_garbage(pair: PairFiles, attribute: str, variable: str, what: str, text: bytes) -> None:
    """A file that holds something else."""
    path: Path = getattr(pair, attribute)
    path.write_bytes(text)
    assert problem_of(pair.pem_files(has_authorities=True)) == f"{variable}: {path} {what}"


def test_a_truncated_certificate(pair: PairFiles) -> None:
    """A file that was written half."""
    whole = pair.certificate.read_bytes()
    pair.certificate.write_bytes(whole[: len(whole) // 4])
    assert "holds no certificate in PEM form" in problem_of(pair.pem_files())


def test_mismatched_pair(pair: PairFiles) -> None:
    """A key of another certificate."""
    pair.key.write_bytes(pair.issue().private_key_pem.bytes())
    assert problem_of(pair.pem_files()) == (
        f"TLS_SERVER_KEY_PATH: {pair.key} does not belong to the first certificate in "
        f"{pair.certificate} (TLS_SERVER_CERT_PATH)"
    )


def test_encrypted_key(pair: PairFiles) -> None:
    """A key that needs a password is refused, where OpenSSL would ask the terminal for it."""
    key = load_pem_private_key(pair.key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    assert re.search(r"TLS_SERVER_KEY_PATH: \S+ is encrypted", problem_of(pair.pem_files()))


def test_a_key_that_openssl_refuses(pair: PairFiles) -> None:
    """A chain whose parts OpenSSL does not take is told as such, not as a traceback."""
    with pair.certificate.open("ab") as stream:
        stream.write(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert problem_of(pair.pem_files()).startswith("TLS_SERVER_CERT_PATH: ")
