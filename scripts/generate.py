"""Writes src/generated/ from protos/ and third_party/: messages, types and gRPC stubs.

The compiler writes absolute imports (`from tokenwire.v1 import …`) that do not resolve inside the
package, so every import of a package made here is rewritten to a relative one.

It also puts every file into one pool of the process. Those of `xds` get a pool of their own: other
packages bring files of the same names, and a pool takes no two that differ.
"""

import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src" / "generated"
THIRD_PARTY = ROOT / "third_party"
PROTO_ROOTS = [ROOT / "protos", THIRD_PARTY / "protovalidate", THIRD_PARTY / "xds"]
MADE_HERE = re.compile(r"^from ((?:tokenwire|buf|xds)(?:\.\w+)+) import", re.MULTILINE)
SERVICES = ("tokenwire/", "xds/service/")
OWN_POOL = OUT / "xds"
DEFAULT_POOL = "from google.protobuf import descriptor_pool as _descriptor_pool"
POOL = '''\
"""The pool of the messages in here, and of what they import."""

from google.protobuf import descriptor_pool, duration_pb2

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(duration_pb2.DESCRIPTOR.serialized_pb)


def Default() -> descriptor_pool.DescriptorPool:
    """Returns the one pool."""
    return _POOL
'''


def main() -> int:
    """Compiles every proto and returns the compiler's exit status."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    includes = [*PROTO_ROOTS, THIRD_PARTY / "googleapis"]
    includes.append(Path(str(resources.files("grpc_tools"))) / "_proto")
    sources = [
        str(p.relative_to(root)) for root in PROTO_ROOTS for p in sorted(root.rglob("*.proto"))
    ]
    services = [name for name in sources if name.startswith(SERVICES)]
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
        up = "." * len(path.relative_to(OUT).parts)
        path.write_text(MADE_HERE.sub(rf"from {up}\1 import", path.read_text()))
    for path in OWN_POOL.rglob("*_pb2.py"):
        up = "." * len(path.relative_to(OWN_POOL).parts)
        text = path.read_text()
        assert text.count(DEFAULT_POOL) == 1, f"the compiler writes its pool otherwise: {path}"
        own = f"from {up} import descriptor_pool as _descriptor_pool"
        path.write_text(text.replace(DEFAULT_POOL, own))
    (OWN_POOL / "descriptor_pool.py").write_text(POOL)
    for folder in [OUT, *(p for p in OUT.rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text("")
    return 0


if __name__ == "__main__":
    sys.exit(main())
