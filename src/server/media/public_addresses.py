"""Which IP addresses an image may be fetched from: those of the public internet alone."""

from __future__ import annotations

import ipaddress
from typing import Final

# Beside what `ipaddress` itself calls not global, which moves with Python's version. Sources: the
# IANA registries of special-purpose addresses for IPv4 and IPv6.
_REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # between a provider and its customers; Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, as its guests reach it
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in another spelling
        "3fff::/20",
    )
)
# All that is given out to networks. Outside lie loopback, link-local, unique local (where AWS has
# its metadata), multicast, and IPv4 in other spellings: mapped, compatible, NAT64.
_GLOBAL_V6: Final = ipaddress.ip_network("2000::/3")


def is_public(address: str) -> bool:
    """Whether a numeric address, as a resolver gives it, is one of the public internet."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed not in _GLOBAL_V6:
        return False
    if not parsed.is_global or parsed.is_multicast or parsed.is_reserved:
        return False
    return not any(parsed in network for network in _REFUSED)
