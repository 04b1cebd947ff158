"""Has llama.cpp load a GGUF file of no tensors, for what it says of the architecture's name.

Run with `-m`, the name and the file to write. Prints what llama.cpp says.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def main(name: str, file: Path) -> None:
    """Writes the file and loads it, which fails for one reason or another."""
    import gguf
    import xllamacpp

    writer = gguf.GGUFWriter(file, name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.verbosity = 1
    # llama.cpp writes to descriptor 2 itself.
    os.dup2(1, 2)
    with contextlib.suppress(RuntimeError):
        xllamacpp.Server(parameters)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
