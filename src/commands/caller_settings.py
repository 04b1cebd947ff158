"""What the commands that call a server read."""

from __future__ import annotations

from pydantic import SecretStr

from ..environment import Settings, setting


class CallerSettings(Settings):
    """The identity of `tokenwire chat`, `tokenwire models` and `tokenwire bench`."""

    api_key: SecretStr | None = setting(
        "LLM_API_KEY",
        None,
        description="API key that chat, models and bench call with",
        takes="a key that tokenwire keys new printed",
    )
