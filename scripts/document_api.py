"""Writes docs/api.md from the protos: services, routes, messages, fields, rules and comments."""

import re
import sys
from collections.abc import Iterator
from itertools import chain

from descriptors import (
    FIELDS,
    METHODS,
    ONEOFS,
    PACKAGE,
    ROOT,
    SERVICES,
    VALUES,
    Source,
    read_sources,
)
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
)
from google.protobuf.message import Message
from tokenwire.generated.buf.validate import validate_pb2

OUT = ROOT / "docs" / "api.md"
FILES = {
    "inference": "Requests and responses",
    "tokenizer": "Tokenising",
    "chat": "Conversations",
    "sampling": "Sampling and constraints",
    "events": "Events",
    "models": "Models",
    "access": "Access",
}
INTRODUCTION = """\
<!-- Written from protos/ by scripts/document_api.py; run `make generate` after a change. -->

# API

The package `tokenwire.v1`, from [protos/tokenwire/v1](../protos/tokenwire/v1). Beside it the server
offers `grpc.health.v1.Health` ([operations.md](operations.md#health)) and gRPC
reflection (`grpc.reflection.v1` and `v1alpha`).

- **Optional** fields tell an unset value from zero.
- **Not built yet** marks a field or value that this version refuses by name, with
  `INVALID_ARGUMENT` and the reason `INVALID_REQUEST`.
- Rules are checked before anything else; a request that breaks some is refused with
  `google.rpc.BadRequest`, which names each field. All failures: [errors.md](errors.md).
- The HTTP routes carry the same messages as canonical proto-JSON (`maxTokens` or `max_tokens`).
  A streaming rpc answers as server-sent events, one `data:` line a message. Its headers come with
  `started`, so that what fails before has its own HTTP status; with `"progress": true` they come
  with the first event, and what fails behind it ends the stream as `{"error": Status}`. With
  `"delivery": "DELIVERY_FINAL"` it answers one JSON object.

The order of a stream:

    Progress*  Started  ( Progress | Deltas )*  Finished      status OK
    (any prefix of the above)                                 status not OK

With `DELIVERY_FINAL` the stream is exactly one `finished`, which also holds what `started` would
have said and the whole answer: a unary stub can call it.
"""

_RULES = {
    "min_len": "at least {} characters",
    "max_len": "at most {} characters",
    "min_items": "at least {} items",
    "max_items": "at most {} items",
    "max_pairs": "at most {} entries",
    "gte": "at least {}",
    "gt": "above {}",
    "lte": "at most {}",
    "finite": "finite",
    "defined_only": "a known value",
    "required": "required",
}
_LITERAL = re.compile(r"'([^']*)'")


def main() -> int:
    """Writes the page."""
    sources = read_sources()
    services = [_service(sources[stem]) for stem in ("inference", "tokenizer", "access")]
    parts = [INTRODUCTION, *chain.from_iterable(services)]
    for stem, title in FILES.items():
        source = sources[stem]
        parts.append(f"## {title}\n")
        for name, message, path in source.messages():
            parts += _message(source, name, message, path)
        for name, enum, path in source.enums():
            parts += [f"### {name}\n", f"{source.comment(*path)}\n"]
            rows = [
                (f"`{value.name}`", str(value.number), source.comment(*path, VALUES, index))
                for index, value in enumerate(enum.value)
            ]
            parts.append(_table(("Value", "Number", "Meaning"), rows))
    OUT.write_text("\n".join(parts).rstrip("\n") + "\n")
    return 0


def _service(source: Source) -> Iterator[str]:
    for index, service in enumerate(source.file.service):
        path = (SERVICES, index)
        yield f"## {service.name}\n"
        yield f"`tokenwire.v1.{service.name}`. {source.comment(*path)}\n"
        rows: list[tuple[str, ...]] = []
        for method in service.method:
            http = method.options.Extensions[annotations_pb2.http]
            verb = http.WhichOneof("pattern")
            stream = "stream of " if method.server_streaming else ""
            rows.append(
                (
                    f"[`{method.name}`](#{method.name.lower()})",
                    _link(method.input_type),
                    stream + _link(method.output_type),
                    f"`{verb.upper()} {getattr(http, verb)}`" if verb else "none",
                )
            )
        yield _table(("Rpc", "Request", "Response", "HTTP route"), rows)
        for number, method in enumerate(service.method):
            yield f"### {method.name}\n"
            yield f"{source.comment(*path, METHODS, number)}\n"


def _message(
    source: Source, name: str, message: DescriptorProto, path: tuple[int, ...]
) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"{source.comment(*path)}\n"
    if message.field:
        rows = [
            (
                f"`{field.name}`",
                str(field.number),
                _type(field, message),
                ", ".join(_rule_texts(field.options.Extensions[validate_pb2.field])),
                source.comment(*path, FIELDS, index),
            )
            for index, field in enumerate(message.field)
        ]
        yield _table(("Field", "Number", "Type", "Rules", "Meaning"), rows)
    for index, oneof in enumerate(message.oneof_decl):
        members = [f"`{f.name}`" for f in message.field if _is_member(f, index)]
        if not members:
            continue  # what `optional` makes of a field
        must = ", required" if oneof.options.Extensions[validate_pb2.oneof].required else ""
        comment = source.comment(*path, ONEOFS, index)
        yield f"One of {', '.join(members)} (`{oneof.name}`{must}): {comment}\n"
    rules = message.options.Extensions[validate_pb2.message].cel
    if rules:
        yield "Rules over the message:\n"
        lines = [
            f"- `{rule.id.partition('.')[0]}` {_cel_text(rule.expression)}"
            + (" With `clamp` it is moved there." if "this.clamp" in rule.expression else "")
            for rule in rules
        ]
        yield "\n".join(lines) + "\n"


def _is_member(field: FieldDescriptorProto, oneof: int) -> bool:
    return (
        field.HasField("oneof_index") and field.oneof_index == oneof and not field.proto3_optional
    )


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entry = next((n for n in message.nested_type if field.type_name.endswith(f".{n.name}")), None)
    if entry is not None and entry.options.map_entry:
        key, value = (_type(part, message) for part in entry.field)
        return f"map of {key} to {value}"
    if field.type_name:
        text = _link(field.type_name)
    else:
        text = f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {text}"
    return f"optional {text}" if field.proto3_optional else text


def _rule_texts(rules: Message) -> list[str]:
    texts: list[str] = []
    # Lower limits first, as people say them.
    for rule, value in sorted(
        rules.ListFields(), key=lambda item: item[0].name.startswith(("lt", "max"))
    ):
        if rule.name == "not_in":
            texts.append("not the first one" if list(value) == [0] else f"not {list(value)}")
        elif rule.name in ("items", "values"):
            texts += [f"each {text}" for text in _rule_texts(value)]
        elif rule.name == "const" and value is True:
            texts.append("true")
        elif rule.name in ("min_len", "min_items") and value == 1:
            texts.append("not empty")
        elif rule.name in _RULES:
            limit = value.seconds if isinstance(value, Message) else value
            texts.append(_RULES[rule.name].format(f"{int(limit):,}"))
        elif isinstance(value, Message):
            texts += _rule_texts(value)  # the rules of one type
        else:
            raise SystemExit(f"no words for the rule {rule.full_name}")
    return texts


def _cel_text(expression: str) -> str:
    words = next((text for text in _LITERAL.findall(expression) if text), "")
    if not words:
        raise SystemExit(f"no words in the rule {expression}")
    return words.removesuffix(", got ").removesuffix(" (") + "."


def _link(type_name: str) -> str:
    if not type_name.startswith(PACKAGE):
        return f"`{type_name.removeprefix('.')}`"
    name = type_name.removeprefix(PACKAGE)
    return f"[`{name}`](#{name.replace('.', '').lower()})"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


if __name__ == "__main__":
    sys.exit(main())
