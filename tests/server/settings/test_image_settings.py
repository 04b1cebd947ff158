"""The variables about images."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.image_host import ImageHost

from ..fronts import make_config


def test_default() -> None:
    """Nothing is fetched unless a host is listed."""
    assert make_config().image_hosts == ()


def test_hosts() -> None:
    """Hosts are separated by commas, each once."""
    config = make_config(LLM_IMAGE_HOSTS="a.example.com, b.example.com:8443,A.example.com")
    assert config.image_hosts == (ImageHost("a.example.com"), ImageHost("b.example.com", 8443))


@pytest.mark.parametrize("value", ["*", "127.0.0.1", "https://a.example.com", "a.example.com,*"])
def test_no_hosts(value: str) -> None:
    """Neither patterns nor numbers nor addresses are hosts."""
    with pytest.raises(ValueError, match="is not the name of a host"):
        make_config(LLM_IMAGE_HOSTS=value)
