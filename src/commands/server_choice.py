"""Which server a command calls, and how: by its options, else as the edge would."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..channel import ChannelTls
from ..edge.config import EdgeConfig
from ..environment import ConfigurationError, load
from ..tls.pem_files import PemFile, PemFiles
from .caller_settings import CallerSettings


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The options of a command. None, and an empty name: what the variables of the edge say."""

    target: str | None = None
    has_tls: bool | None = None
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    api_key: str | None = field(default=None, repr=False)

    def find_key(self) -> str:
        """Returns the API key to call with; empty for none.

        Raises:
            ConfigurationError: `.env` cannot be read, or the key cannot be one.
        """
        configured = load(CallerSettings).api_key
        key = self.api_key or (configured.get_secret_value() if configured else "")
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError(
                ["LLM_API_KEY or --api-key: takes the text of a key, all of ASCII"]
            )
        return key

    def resolve(self) -> tuple[str, ChannelTls | None]:
        """Returns the target, and what a channel to it trusts and shows; None: plaintext.

        Raises:
            ConfigurationError: options or variables hold mistakes.
        """
        config = load(EdgeConfig)
        target = self.target or config.grpc_target
        if not (config.grpc_target_tls if self.has_tls is None else self.has_tls):
            self._refuse_files()
            return target, None
        files = self._files(config.target_pem_files)
        texts = files.load().texts
        name = self.server_name or config.grpc_target_server_name
        return target, ChannelTls(texts.authorities, texts.certificate, texts.key, name)

    def _options(self) -> dict[str, Path | None]:
        return {
            "--tls-ca-cert": self.authorities,
            "--tls-client-cert": self.certificate,
            "--tls-client-key": self.key,
        }

    def _refuse_files(self) -> None:
        given = [name for name, path in self._options().items() if path is not None]
        given += ["--tls-server-name"] if self.server_name else []
        if given:
            raise ConfigurationError([f"{given[0]}: needs --tls"])

    def _files(self, others: PemFiles) -> PemFiles:
        if (self.certificate is None) is not (self.key is None):
            raise ConfigurationError(
                ["--tls-client-cert and --tls-client-key are given together or not at all"]
            )
        authorities, certificate, key = (
            None if path is None else PemFile(name, path) for name, path in self._options().items()
        )
        return PemFiles(
            certificate or others.certificate,
            key or others.key,
            authorities or others.authorities,
        )
