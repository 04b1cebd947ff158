"""Certificates for tests, as files that can be replaced."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme
from tokenwire.tls.pem_files import PemFile, PemFiles

HOSTNAME = "llm.example.com"


class PairFiles:
    """A certificate and its key in a folder, and their authority beside them."""

    def __init__(self, folder: Path, authority: trustme.CA | None = None) -> None:
        self.authority = authority or trustme.CA()
        folder.mkdir(exist_ok=True)
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.authorities = folder / "ca.crt"
        self.authority.cert_pem.write_to_path(str(self.authorities))
        self.replace()

    def replace(self, *names: str, days: int | None = None, begins_in_days: int = 0) -> bytes:
        """Writes another pair over the old one, and returns its certificate as DER.

        `days` is how long it is still valid; below zero it has expired. `begins_in_days` is when
        it becomes valid; 0: it is.
        """
        leaf = self.issue(*names, days=days, begins_in_days=begins_in_days)
        self.certificate.write_bytes(chain_of(leaf))
        self.key.write_bytes(leaf.private_key_pem.bytes())
        return der_of(leaf)

    def issue(
        self, *names: str, days: int | None = None, begins_in_days: int = 0
    ) -> trustme.LeafCert:
        """Makes a pair of the same authority, for `HOSTNAME` unless named."""
        now = datetime.datetime.now(datetime.UTC)
        since = now + datetime.timedelta(days=begins_in_days) if begins_in_days else None
        until = None if days is None else now + datetime.timedelta(days=days)
        return self.authority.issue_cert(*(names or (HOSTNAME,)), not_before=since, not_after=until)

    def pem_files(self, *, has_authorities: bool = False) -> PemFiles:
        """The files under the variables of a server."""
        return PemFiles(
            PemFile("TLS_SERVER_CERT_PATH", self.certificate),
            PemFile("TLS_SERVER_KEY_PATH", self.key),
            PemFile("TLS_CLIENT_CA_PATH", self.authorities) if has_authorities else None,
        )

    def variables(self) -> dict[str, str]:
        """The variables that turn TLS on."""
        return {
            "SERVER_SSL_ENABLED": "true",
            "TLS_SERVER_CERT_PATH": str(self.certificate),
            "TLS_SERVER_KEY_PATH": str(self.key),
        }


def chain_of(leaf: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in leaf.cert_chain_pems)


def der_of(leaf: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
