"""Whether the address of an image may be fetched from."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from yarl import URL

from ..contract.image_host import ImageHost
from .image_source import RefusedImage

_MAX_LENGTH: Final = 8192
# Printable ASCII without the backslash, which some read as a slash.
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
_NOT_LISTED: Final = "its host and port are not among those that this server fetches from"


def parse_image_url(url: str, hosts: Collection[ImageHost]) -> URL:
    """Returns an address that may be fetched from: what is checked is what is dialled.

    Raises:
        RefusedImage: it is not https, carries credentials, or names no host of the list.
    """
    if not _PLAIN.fullmatch(url) or len(url) > _MAX_LENGTH:
        raise RefusedImage(
            f"an address has at most {_MAX_LENGTH} characters, of printable ASCII, no backslash"
        )
    if not url.lower().startswith("https://"):
        raise RefusedImage("an address must begin with https:// or data:")
    try:
        parsed = URL(url)
        host = ImageHost(parsed.raw_host or "", parsed.port or 0)
    except ValueError as error:
        raise RefusedImage("its address is malformed") from error
    if parsed.scheme != "https" or parsed.raw_user is not None or parsed.raw_password is not None:
        raise RefusedImage("an address must not hold a user or a password")
    if host not in hosts:
        raise RefusedImage(_NOT_LISTED)
    return parsed.with_fragment(None)
