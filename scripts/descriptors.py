"""The protos as descriptors, with their comments, for the scripts that write documentation."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ".tokenwire.v1."
# Numbers of the fields of FileDescriptorProto and its parts, of which a comment's path is made.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED_MESSAGES, NESTED_ENUMS, ONEOFS = 2, 3, 4, 8
VALUES = METHODS = 2


@dataclass(frozen=True)
class Source:
    """One proto file and the comments of everything in it."""

    file: FileDescriptorProto
    comments: dict[tuple[int, ...], str]

    def comment(self, *path: int) -> str:
        """Returns the comment above a thing, paragraphs kept, lines joined."""
        paragraphs = self.comments.get(path, "").strip().split("\n\n")
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    def messages(self) -> Iterator[tuple[str, DescriptorProto, tuple[int, ...]]]:
        """Yields every message with its name and path, nested ones behind the one they are in."""
        for index, message in enumerate(self.file.message_type):
            yield from _nested(message.name, message, (MESSAGES, index))

    def enums(self) -> Iterator[tuple[str, EnumDescriptorProto, tuple[int, ...]]]:
        """Yields every enum with its name and path."""
        for index, enum in enumerate(self.file.enum_type):
            yield enum.name, enum, (ENUMS, index)
        for name, message, path in self.messages():
            for index, enum in enumerate(message.enum_type):
                yield f"{name}.{enum.name}", enum, (*path, NESTED_ENUMS, index)


def read_sources() -> dict[str, Source]:
    """Compiles the protos; the keys are file names without folder and ending."""
    includes = [ROOT / "protos", *sorted((ROOT / "third_party").iterdir())]
    includes.append(Path(str(resources.files("grpc_tools"))) / "_proto")
    names = sorted(str(p.relative_to(ROOT / "protos")) for p in (ROOT / "protos").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors.binpb"
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc"),
                *(f"-I{path}" for path in includes),
                *("--include_source_info", f"--descriptor_set_out={out}"),
                *names,
            ],
            check=True,
        )
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    return {Path(file.name).stem: Source(file, _comments(file)) for file in files}


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): location.leading_comments
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _nested(
    name: str, message: DescriptorProto, path: tuple[int, ...]
) -> Iterator[tuple[str, DescriptorProto, tuple[int, ...]]]:
    yield name, message, path
    for index, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _nested(f"{name}.{inner.name}", inner, (*path, NESTED_MESSAGES, index))
