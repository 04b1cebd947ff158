"""Where callers reach what was started, and how."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

LOCALHOST = "localhost"
_DEFAULT_GRPC = f"{LOCALHOST}:50051"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports of this machine, and what a caller needs beside them.

    With `has_tls`, `hostname` is one that the certificate is good for, and `authorities` the file
    that callers must trust; None: they trust them already, or know better. `own_target` is where
    `tokenwire serve` itself finds the gRPC server.
    """

    grpc_port: int
    http_port: int
    own_target: str = ""
    hostname: str = LOCALHOST
    has_tls: bool = False
    authorities: Path | None = None
    has_client_certificates: bool = False

    @property
    def grpc(self) -> str:
        """Address of the gRPC server."""
        return f"{self.hostname}:{self.grpc_port}"

    @property
    def http(self) -> str:
        """Address of the edge."""
        scheme = "https" if self.has_tls else "http"
        return f"{scheme}://{self.hostname}:{self.http_port}"

    @property
    def curl(self) -> str:
        """The command curl with the options that the edge needs."""
        return f"curl --cacert {self._trusted}" if self._trusted else "curl"

    @property
    def chat_options(self) -> str:
        """The options, each behind a blank, that `tokenwire chat` needs."""
        options = "" if self.grpc == _DEFAULT_GRPC else f" --target {self.grpc}"
        if self.has_tls:
            options += " --tls"
        if self._trusted:
            options += f" --tls-ca-cert {self._trusted}"
        if self.has_client_certificates:
            options += " --tls-client-cert FILE --tls-client-key FILE"
        return options

    @property
    def _trusted(self) -> str:
        return "" if self.authorities is None else shlex.quote(str(self.authorities))
