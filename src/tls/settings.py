"""The variables that turn TLS on, which front and edge share."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from ..environment import ExpandedPath, Settings, setting
from .pem_files import PemFile, PemFiles

PEM_FILE = "a PEM file"
_CERTIFICATE = "TLS_SERVER_CERT_PATH"
_KEY = "TLS_SERVER_KEY_PATH"
CLIENT_AUTHORITIES = "TLS_CLIENT_CA_PATH"


class TlsSettings(Settings):
    """What a process that listens reads about its TLS."""

    server_ssl_enabled: bool = setting(
        "SERVER_SSL_ENABLED", False, description="Serves TLS, on gRPC and HTTP"
    )
    tls_server_cert_path: ExpandedPath | None = setting(
        _CERTIFICATE,
        None,
        description="Certificate of the server, the chain behind it",
        takes=PEM_FILE,
    )
    tls_server_key_path: ExpandedPath | None = setting(
        _KEY, None, description="Private key of the server", takes=PEM_FILE
    )

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        paths = {_CERTIFICATE: self.tls_server_cert_path, _KEY: self.tls_server_key_path}
        if self.server_ssl_enabled:
            missing = [name for name, path in paths.items() if path is None]
            if missing:
                are = "are" if len(missing) > 1 else "is"
                raise ValueError(
                    f"{' and '.join(missing)} {are} not set, but SERVER_SSL_ENABLED asks for TLS"
                )
        else:
            self.refuse_without_tls(paths)
        return self

    def refuse_without_tls(self, paths: dict[str, Path | None]) -> None:
        """Refuses files of TLS where nothing says whether it is on: plaintext may be a surprise.

        Raises:
            ValueError: one of `paths`, by variable, is set.
        """
        given = [name for name, path in paths.items() if path is not None]
        if (
            given
            and not self.server_ssl_enabled
            and "server_ssl_enabled" not in self.model_fields_set
        ):
            raise ValueError(
                f"{given[0]} is set, but SERVER_SSL_ENABLED is not: "
                "true serves TLS, false serves plaintext"
            )

    def server_pem_files(self, client_authorities: Path | None = None) -> PemFiles | None:
        """Returns the files that the server's end needs; None: it speaks plaintext."""
        certificate, key = self.tls_server_cert_path, self.tls_server_key_path
        if not self.server_ssl_enabled or certificate is None or key is None:
            return None
        authorities = None
        if client_authorities is not None:
            authorities = PemFile(CLIENT_AUTHORITIES, client_authorities)
        return PemFiles(PemFile(_CERTIFICATE, certificate), PemFile(_KEY, key), authorities)
