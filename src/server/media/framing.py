"""How files go to the process that decodes, and how they come back."""

from __future__ import annotations

import struct
from typing import Final

SIZE: Final = struct.Struct(">?I")
"""Before each file: whether it is one (otherwise nothing follows), and its bytes."""
