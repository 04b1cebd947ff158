"""The two ends of TLS that the edge holds: the server of HTTPS, and the client of the front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry

from ..channel import ChannelTls
from ..metrics.tls import TlsMetrics
from ..tls.watched_credentials import WatchedCredentials
from .config import EdgeConfig


@dataclass(frozen=True, slots=True)
class TlsEnds:
    """The credentials in force of each end; None: plaintext."""

    https: WatchedCredentials | None
    front: WatchedCredentials | None
    front_name: str

    @classmethod
    def load(cls, config: EdgeConfig) -> Self:
        """Reads the files of both ends.

        Raises:
            ConfigurationError: one cannot be used.
        """
        https = config.server_pem_files()
        return cls(
            WatchedCredentials(https, "http") if https else None,
            WatchedCredentials(config.target_pem_files, "front")
            if config.grpc_target_tls
            else None,
            config.grpc_target_server_name,
        )

    @property
    def watched(self) -> tuple[WatchedCredentials, ...]:
        """Those that have files."""
        return tuple(end for end in (self.https, self.front) if end is not None)

    def channel(self) -> ChannelTls | None:
        """Returns what a channel to the front trusts and shows at this moment."""
        if self.front is None:
            return None
        texts = self.front.current.texts
        return ChannelTls(texts.authorities, texts.certificate, texts.key, self.front_name)

    def register(self, registry: CollectorRegistry) -> None:
        """Adds what a scrape is told about each end."""
        registry.register(TlsMetrics(*self.watched))
