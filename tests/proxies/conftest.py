"""The edge before a scripted front, as its own tests have it."""

from __future__ import annotations

from ..edge.conftest import scripted, scripted_edge

__all__ = ["scripted", "scripted_edge"]
