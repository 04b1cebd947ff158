"""Writes src/generated/ from protos/ and third_party/: messages, types and gRPC stubs.

The compiler writes absolute imports (`from tokenwire.v1 import …`) that do not resolve inside the
package, so every import of a package made here is rewritten to a relative one.
"""

import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src" / "generated"
PROTO_ROOTS = [ROOT / "protos", ROOT / "third_party" / "protovalidate"]
MADE_HERE = re.compile(r"^from ((?:tokenwire|buf)\.\w+) import", re.MULTILINE)


def main() -> int:
    """Compiles every proto and returns the compiler's exit status."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    includes = [*PROTO_ROOTS, ROOT / "third_party" / "googleapis"]
    includes.append(Path(str(resources.files("grpc_tools"))) / "_proto")
    sources = [
        str(p.relative_to(root)) for root in PROTO_ROOTS for p in sorted(root.rglob("*.proto"))
    ]
    services = [name for name in sources if name.startswith("tokenwire/")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes)]
    bin_dir = Path(sys.executable).parent
    for command in (
        [
            *protoc,
            f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
            f"--python_out={OUT}",
            f"--mypy_out=quiet:{OUT}",
            *sources,
        ],
        [
            *protoc,
            f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
            f"--grpc_python_out={OUT}",
            f"--mypy_grpc_out=quiet:{OUT}",
            *services,
        ],
    ):
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    for path in OUT.rglob("*_pb2_grpc.py*"):
        if "Stub" not in path.read_text():
            path.unlink()  # protos without a service
    for path in [*OUT.rglob("*.py"), *OUT.rglob("*.pyi")]:
        path.write_text(MADE_HERE.sub(r"from ...\1 import", path.read_text()))
    for folder in [OUT, *(p for p in OUT.rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text("")
    return 0


if __name__ == "__main__":
    sys.exit(main())
