"""Image files of any kind that is taken to PNG, in a process that has only so long."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Final

from ..settings.fixed_limits import IMAGE_DECODE_S, MAX_CONCURRENT_DECODES
from .framing import SIZE
from .image_header import read_image_header
from .image_limits import ImageLimits
from .image_source import RefusedImage

# Keys and tokens of this process are none of the decoder's business.
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG")
_TOO_SLOW: Final = "decoding it took too long"
_DAMAGED: Final = "it is cut off or damaged"


class ImageDecoder:
    """Decodes the images of a request, those of a few requests at once."""

    def __init__(self, limits: ImageLimits, decode_s: float = IMAGE_DECODE_S) -> None:
        self._limits = limits
        self._decode_s = decode_s
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_DECODES)

    def check(self, data: bytes) -> None:
        """Looks at a file without decoding it.

        Raises:
            RefusedImage: it is of another kind, or too large, by its bytes or by what it says.
        """
        self._limits.check_bytes(len(data))
        self._limits.check_size(read_image_header(data))

    async def decode(self, files: Sequence[bytes]) -> list[bytes | RefusedImage]:
        """Returns each file that was checked as PNG, or why it is none.

        Those who decode end the wait for a turn. Cancelling ends the process.
        """
        async with self._turns:
            try:
                async with asyncio.timeout(self._decode_s):
                    answer = await self._run(b"".join(SIZE.pack(True, len(f)) + f for f in files))
            except TimeoutError:
                return [RefusedImage(_TOO_SLOW)] * len(files)
        return _split(answer, len(files))

    async def _run(self, files: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", f"{__package__}.decoder"),
            *(str(self._limits.max_pixels), str(int(self._decode_s) + 1)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        try:
            answer, _ = await process.communicate(files)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()  # a killed process ends at once
        return answer


def _split(answer: bytes, num_files: int) -> list[bytes | RefusedImage]:
    """Takes the answer apart. One that ends early is that of a process that did: a crash."""
    images: list[bytes | RefusedImage] = []
    position = 0
    for _ in range(num_files):
        if len(answer) < position + SIZE.size:
            images.append(RefusedImage(_DAMAGED))
            continue
        is_image, length = SIZE.unpack_from(answer, position)
        position += SIZE.size + length
        whole = is_image and position <= len(answer)
        images.append(answer[position - length : position] if whole else RefusedImage(_DAMAGED))
    return images
