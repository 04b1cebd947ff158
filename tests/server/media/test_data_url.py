"""Images inside their address."""

from __future__ import annotations

import base64

import pytest
from tokenwire.server.media.data_url import is_data_url, read_data_url
from tokenwire.server.media.image_source import RefusedImage

TEXT = base64.b64encode(b"four").decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{TEXT}",
        f"DATA:;BASE64,{TEXT}",
        f"data:text/html;charset=utf-8;base64,{TEXT}",
    ],
)
def test_read(url: str) -> None:
    """The bytes count, not the type that is told."""
    assert is_data_url(url)
    assert read_data_url(url, 4) == b"four"


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png",
        f"data:image/png,{TEXT}",
        "data:image/png;base64,%41%41",
        "data:image/png;base64,Zm9 1cg==",
        "data:image/png;base64,Zm9",
        "data:image/png;base64,Zmé=",
        f"data:image/png;base64,{base64.b64encode(bytes(64)).decode()}",
    ],
)
def test_refused(url: str) -> None:
    """What is no base64, or too much of it, is refused."""
    with pytest.raises(RefusedImage):
        read_data_url(url, 16)


def test_other_addresses() -> None:
    """Others are none."""
    assert not is_data_url("https://example.com/data:")
