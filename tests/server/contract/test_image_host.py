"""Hosts as the operator lists them."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.image_host import ImageHost


def test_parse() -> None:
    """A name is read in lower case, with the port where there is one."""
    assert ImageHost.parse(" Images.Example.com ") == ImageHost("images.example.com", 443)
    assert str(ImageHost.parse("images.example.com:8443")) == "images.example.com:8443"


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "127.0.0.1",
        "0x7f.0.0.0x1",
        "2130706433",
        "[::1]",
        "::1",
        "*.example.com",
        "https://example.com",
        "example.com/",
        "user@example.com",
        "example.com.",
        "-a.example.com",
        "a..example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:https",
        "exämple.com",
        "",
    ],
)
def test_refused(text: str) -> None:
    """Numbers, patterns, addresses and single labels are no hosts."""
    with pytest.raises(ValueError, match=r"is not the name|no port"):
        ImageHost.parse(text)
