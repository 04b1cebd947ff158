"""Pages of metrics as text: two of them made one."""

from __future__ import annotations

from typing import Final

_HELP: Final = b"# HELP "
_END: Final = b"# EOF\n"  # of OpenMetrics; a page has one, at its end


def has_metrics(page: bytes) -> bool:
    """Whether there is a metric on a page."""
    return page.startswith(_HELP)


def merge_pages(first: bytes, second: bytes) -> bytes:
    """Joins two pages of one form.

    A metric that both have stands once, with the samples of both: it must not stand twice.
    """
    families = _split(first)
    for name, family in _split(second).items():
        if name in families:
            families[name] += b"".join(
                line for line in family.splitlines(keepends=True) if not line.startswith(b"#")
            )
        else:
            families[name] = family
    return b"".join(families.values()) + (_END if second.endswith(_END) else b"")


def _split(page: bytes) -> dict[bytes, bytes]:
    """Splits a page into its metrics, by name; each begins with its help."""
    _, *parts = (b"\n" + page.removesuffix(_END)).split(b"\n" + _HELP)
    return {part.partition(b" ")[0]: _HELP + part.rstrip(b"\n") + b"\n" for part in parts}
