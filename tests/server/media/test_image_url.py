"""Which addresses of images are fetched from at all."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.image_host import ImageHost
from tokenwire.server.media.image_source import RefusedImage
from tokenwire.server.media.image_url import parse_image_url

HOSTS = (ImageHost("images.example.com"), ImageHost("other.example.com", 8443))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "images.example.com/a.png",
        "//images.example.com/a.png",
        "http://images.example.com/a.png",
        "ftp://images.example.com/a.png",
        "file:///etc/passwd",
        "file://images.example.com/etc/passwd",
        "/etc/passwd",
        "gopher://images.example.com/",
        "blob:https://images.example.com/a",
        "jar:https://images.example.com/a!/b",
        "https:/images.example.com/a.png",
        "https:images.example.com/a.png",
        "https:///a.png",
        "https://",
        "https://images.example.com:80/a.png",
        "https://images.example.com:8443/a.png",
        "https://images.example.com:0/a.png",
        "https://images.example.com:99999/a.png",
        "https://images.example.com:x/a.png",
        "https://other.example.com/a.png",
        "https://example.com/a.png",
        "https://images.example.com./a.png",
        "https://evil-images.example.com/a.png",
        "https://images.example.com.evil.com/a.png",
        "https://a.images.example.com/a.png",
        "https://images.example.com@evil.com/a.png",
        "https://evil.com#@images.example.com/a.png",
        "https://evil.com?@images.example.com/a.png",
        "https://evil.com\\@images.example.com/a.png",
        "https://images.example.com\\.evil.com/a.png",
        "https://user@images.example.com/a.png",
        "https://user:password@images.example.com/a.png",
        "https://:@images.example.com/a.png",
        "https://images.example.com%2eevil.com/a.png",
        "https://images%2eexample.com/a.png",
        "https://images.example.com%00.evil.com/a.png",
        "https://images.example.com\x00.evil.com/a.png",
        "https://images.example.com\t/a.png",
        " https://images.example.com/a.png",
        "https://images.example.com/a.png\r\nHost: evil.com",
        "https://im\u0430ges.example.com/a.png",
        "https://images\u3002example\u3002com/a.png",
        "https://\uff49mages.example.com/a.png",
        "https://127.0.0.1/a.png",
        "https://127.1/a.png",
        "https://2130706433/a.png",
        "https://0x7f000001/a.png",
        "https://0x7f.0.0.1/a.png",
        "https://0177.0.0.1/a.png",
        "https://0/a.png",
        "https://①②⑦.0.0.1/a.png",
        "https://localhost/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://[fd00:ec2::254]/latest/meta-data/",
        "https://[::1%25eth0]/a.png",
        "https://[images.example.com]/a.png",
        "https://metadata.google.internal/",
        "https://images.example.com/" + "a" * 8192,
    ],
)
def test_refused(url: str) -> None:
    """No other scheme, host, port or spelling passes; the message does not repeat the address."""
    with pytest.raises(RefusedImage) as refused:
        parse_image_url(url, HOSTS)
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("https://images.example.com/a.png?b=c", "https://images.example.com/a.png?b=c"),
        ("HTTPS://IMAGES.example.COM/a.png", "https://images.example.com/a.png"),
        ("https://images.example.com:443/a", "https://images.example.com/a"),
        ("https://other.example.com:8443/a", "https://other.example.com:8443/a"),
        ("https://images.example.com/a#b", "https://images.example.com/a"),
    ],
)
def test_allowed(url: str, dialled: str) -> None:
    """A listed host at its port passes, in any case, without a fragment."""
    assert str(parse_image_url(url, HOSTS)) == dialled


def test_an_address_at_its_limit_and_above() -> None:
    """8192 characters are taken, one more is refused with the limit."""
    url = "https://images.example.com/"
    assert parse_image_url(url.ljust(8192, "a"), HOSTS).host == "images.example.com"
    with pytest.raises(RefusedImage, match="at most 8192 characters"):
        parse_image_url(url.ljust(8193, "a"), HOSTS)
