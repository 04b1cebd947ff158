"""docs/limits.md against protos, settings and constants; every field at its limit and above."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from typing import Any, cast

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2
from tokenwire.edge.config import EdgeConfig
from tokenwire.error_table import TRAITS
from tokenwire.generated.buf.validate import validate_pb2
from tokenwire.generated.tokenwire.v1 import inference_pb2, tokenizer_pb2
from tokenwire.server.access.api_key import Limits
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.request.sampling import CLAMPED_RANGES
from tokenwire.variables import variables

from .pages import ROOT, read_page, table_below

_REQUESTS = (
    inference_pb2.GenerateRequest,
    inference_pb2.ChatRequest,
    tokenizer_pb2.TokenizeRequest,
    tokenizer_pb2.DetokenizeRequest,
)
_OF_CONSTANTS = (
    "## Limits that are fixed",
    "## Constraints",
    "## Configuration and files",
    "## Logs",
)
# The tool that measures a service, its client, and what is generated.
_NOT_THE_SERVICE = ("bench", "client", "commands", "generated", "load")
_IS_LIMIT = re.compile(r"^_?(MAX|MIN)_|_TIMEOUT_S$|_LIMIT_BYTES$")
_SHOWN = "how much of a value a message shows"
_KEPT = "how much is remembered; what is forgotten is found again"
_STEP = "how work is cut into pieces"
_INSIDE = "between processes and parts of the service, which no caller reaches"
_OWN_END = "how long the service waits for itself when something ends"
_SIZING = "what the sizes of an engine are found by: docs/engines.md"
_TYPE = "what a type holds"
_OF_PROTOS = "read from the protos: `Fields of requests`"
_NO_LIMITS = {
    "edge.api.content._MAX_PARTS": _OF_PROTOS,
    "edge.api.json_codec._MAX_MESSAGES": _OF_PROTOS,
    "edge.openai.conversation._MAX_MESSAGES": _OF_PROTOS,
    "edge.openai.conversation._MAX_TOOLS": _OF_PROTOS,
    "edge.openai.conversation._MAX_PARTS": _OF_PROTOS,
    "edge.openai.conversation._MAX_CALLS": _OF_PROTOS,
    "edge.config._MAX_PORT": _TYPE,
    "edge.http_settings._MAX_S": _TYPE,
    "server.contract.token_ids._MAX_ID": _TYPE,
    "server.engines.sglang.plan.weight_quantization.MAX_INT4_BITS": _TYPE,
    "server.engines.sglang.settings._MAX_PARALLEL": _TYPE,
    "server.settings.server_config._MAX_PORT": _TYPE,
    "edge.api.content._MAX_SHOWN": _SHOWN,
    "edge.body._MAX_SHOWN": _SHOWN,
    "edge.canonical.field_values._MAX_NAME": _SHOWN,
    "edge.fields._MAX_SHOWN": _SHOWN,
    "edge.middleware._MAX_SHOWN": _SHOWN,
    "edge.openai.known_fields._MAX_SHOWN": _SHOWN,
    "server.constraints.bad_constraint.MAX_REASON_CHARACTERS": _SHOWN,
    "server.engines.llama_cpp.client._MAX_ERROR_BYTES": _SHOWN,
    "edge.cors._MAX_AGE_S": _KEPT,
    "edge.packing._MAX_KEPT": _KEPT,
    "server.constraints.checker._MAX_KNOWN": _KEPT,
    "server.constraints.checker._MAX_KNOWN_CHARACTERS": _KEPT,
    "server.engines.engine_output.MAX_KEPT_LINES": _KEPT,
    "server.engines.llama_cpp.output.piece_ids._MAX_KNOWN": _KEPT,
    "server.engines.sglang.grammar_backend.MAX_CACHED": _KEPT,
    "server.files.formats.gguf_file._MAX_KEPT_ELEMENTS": _KEPT,
    "server.rpc.load_reports.MAX_AGE_S": _KEPT,
    "edge.connections.sockets._MAX_UNSENT_BYTES": _STEP,
    "edge.packing._MIN_BYTES": _STEP,
    "server.constraints.schema_place._MAX_TRIES": _STEP,
    "server.contract.events.MAX_PROMPT_PIECE": _STEP,
    "server.request.continuing.told_answer._MAX_LOOSE": _STEP,
    "server.request.log.request_log._MAX_LOOSE": _STEP,
    "server.request.log.request_log._MAX_LOOSE_BYTES": _STEP,
    "server.rpc.codecs.event_codec._MAX_BYTES_OF_ONE_TEXT": _STEP,
    "server.engines.llama_cpp.sizing.MIN_CONTEXT_LENGTH": _SIZING,
    "server.engines.sglang.plan.arguments.MAX_LORAS_PER_BATCH": _SIZING,
    "server.engines.sglang.plan.memory.MIN_CPU_POOL_TOKENS": _SIZING,
    "server.machine.c_allocator._MAX_ARENAS": _SIZING,
    "server.preparation.placement.MAX_WEIGHT_SHARE": _SIZING,
    "edge.app._CLEANUP_TIMEOUT_S": _OWN_END,
    "server.constraints.trial_process._END_TIMEOUT_S": _OWN_END,
    "server.engines.llama_cpp.engine._LET_GO_TIMEOUT_S": _OWN_END,
    "server.files.hub.download._END_TIMEOUT_S": _OWN_END,
    "server.machine.gpu_monitor._MAX_END_S": _OWN_END,
    "supervisor._LOG_TIMEOUT_S": _OWN_END,
    "edge.client._HEALTH_TIMEOUT_S": _INSIDE,
    "server.constraints.trial_process._ANSWER_TIMEOUT_S": _INSIDE,
    "server.constraints.trial_process._MAX_LINE_BYTES": _INSIDE,
    "server.engines.llama_cpp.client._CONNECT_TIMEOUT_S": _INSIDE,
    "server.engines.llama_cpp.client._ANSWER_TIMEOUT_S": _INSIDE,
    "server.engines.llama_cpp.client._MAX_LINE_BYTES": _INSIDE,
    "server.engines.sglang.frames.MAX_FRAME_BYTES": _INSIDE,
    "server.engines.sglang.host.output.earlier_text._MAX_TOKENS_OF_CHARACTER": _INSIDE,
    "server.models.admission._MAX_NEWS_DELAY_S": _INSIDE,
    "server.models.hangs.hang_watch._MAX_GAP": _INSIDE,
    "server.models.readmission._MAX_NEWS_DELAY_S": _INSIDE,
    "server.models.status_watch._MAX_ANSWER_S": _INSIDE,
    "server.rpc.load_reports._MIN_RATE_WINDOW_S": _INSIDE,
    "supervisor._STREAM_LIMIT_BYTES": _INSIDE,
    "welcome._CALL_TIMEOUT_S": _INSIDE,
}
_UNITS = {"max_len": "characters", "max_items": "items", "max_pairs": "entries"}


def _messages(kind: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if kind.full_name.startswith("tokenwire.v1.") and kind.full_name not in seen:
        seen[kind.full_name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                _messages(cast("Descriptor", field.message_type), seen)
    return seen


def _rules(field: FieldDescriptor) -> Any:
    # Any: protoc types an extension as a plain descriptor, without its type.
    options: Any = field.GetOptions()
    return options.Extensions[validate_pb2.field]


def _limits() -> Iterator[tuple[str, FieldDescriptor, int, str]]:
    """Every upper bound of a length, a number of items or an integer: name, field, bound, unit."""
    seen: dict[str, Descriptor] = {}
    for request in _REQUESTS:
        _messages(request.DESCRIPTOR, seen)
    for kind in seen.values():
        for field in kind.fields:
            name = f"{kind.full_name.removeprefix('tokenwire.v1.')}.{field.name}"
            rules = _rules(field)
            for text, unit in (
                ("string", "max_len"),
                ("repeated", "max_items"),
                ("map", "max_pairs"),
            ):
                part = getattr(rules, text)
                if part.HasField(unit):
                    yield name, field, getattr(part, unit), _UNITS[unit]
            if rules.repeated.items.string.HasField("max_len"):
                yield f"{name}[]", field, rules.repeated.items.string.max_len, "characters"
            if rules.int32.HasField("lte"):
                yield name, field, rules.int32.lte, "at most"


FIELDS = list(_limits())


def test_every_limit_of_a_field_is_documented() -> None:
    """The table has every bound that the protos state, and nothing more."""
    rows = [row[:2] for row in table_below(read_page("limits.md"), "## Fields of requests")]
    assert rows == [
        [f"`{name}`", f"{unit} {limit}" if unit == "at most" else f"{limit} {unit}"]
        for name, _, limit, unit in FIELDS
    ]


def _is_refused(name: str, field: FieldDescriptor, number: int, unit: str) -> bool:
    message: Any = GetMessageClass(cast("Descriptor", field.containing_type))()
    if name.endswith("[]"):
        getattr(message, field.name).append("x" * number)
    elif unit == "entries":
        for key in range(number):
            getattr(message, field.name)[key] = 0
    elif unit == "items":
        items = getattr(message, field.name)
        for _ in range(number):
            if field.message_type is not None:
                items.add()
            else:
                items.append("x" if field.cpp_type == field.CPPTYPE_STRING else 1)
    else:
        setattr(message, field.name, "x" * number if unit == "characters" else number)
    return any(
        violation.proto.field.elements
        and violation.proto.field.elements[0].field_name == field.name
        and violation.proto.rule_id.partition(".")[2]
        in ("max_len", "max_items", "max_pairs", "lte", "gte_lte")
        for violation in protovalidate.collect_violations(message)
        if len(violation.proto.field.elements) <= 1
    )


@pytest.mark.parametrize(("name", "field", "limit", "unit"), FIELDS, ids=[row[0] for row in FIELDS])
def test_field_at_its_limit_and_above(
    name: str, field: FieldDescriptor, limit: int, unit: str
) -> None:
    """A value at the limit passes, and one more is refused."""
    assert not _is_refused(name, field, limit, unit)
    assert _is_refused(name, field, limit + 1, unit)


def test_settings_and_their_defaults() -> None:
    """Each variable is one, and its default is that of the code."""
    known = {
        each.name: each.default for kind in (config_class(), EdgeConfig) for each in variables(kind)
    }
    rows = table_below(read_page("limits.md"), "## Limits with a variable")
    documented = {row[1].strip("`"): row[2].strip("`") for row in rows}
    assert documented == {name: known[name] for name in documented}


def _rows(heading: str) -> list[list[str]]:
    return table_below(read_page("limits.md"), heading)


def _constants() -> dict[str, str]:
    """Each constant of the page, by its place, and the value that stands beside it."""
    return {
        row[1].strip("`"): row[2].strip("`") for heading in _OF_CONSTANTS for row in _rows(heading)
    }


def test_constants() -> None:
    """Each limit that no variable sets is a constant, and has its value."""
    for place, value in _constants().items():
        module, _, name = place.rpartition(".")
        assert str(getattr(importlib.import_module(f"tokenwire.{module}"), name)) == value, place


def test_every_limit_of_the_code_is_documented() -> None:
    """A constant whose name says that it is a limit stands on the page, or in a list below."""
    found = set(_limits_of_the_code())
    documented = set(_constants())
    assert found - documented - set(_NO_LIMITS) == set()
    assert set(_NO_LIMITS) - found == set()
    assert set(_NO_LIMITS) & documented == set()


def _limits_of_the_code() -> Iterator[str]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        package, *_ = path.relative_to(ROOT / "src").parts
        if package in _NOT_THE_SERVICE:
            continue
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for statement in ast.parse(path.read_text()).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            if isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and _IS_LIMIT.search(target.id):
                    yield f"{module}.{target.id}"


@pytest.mark.parametrize(
    "heading", ["## Limits with a variable", "## Limits that are fixed", "## API keys"]
)
def test_what_an_excess_gets_is_in_the_table_of_errors(heading: str) -> None:
    """Each pair of a code and a reason, and of a status and a code, is one of docs/errors.md."""
    over_grpc = {
        (code_pb2.Code.Name(traits.grpc_code), reason) for reason, traits in TRAITS.items()
    }
    over_http = {(str(traits.http_status), traits.rest_code) for traits in TRAITS.values()}
    for row in _rows(heading):
        *_, told_by_grpc, told_by_http, _ = row
        for code, reason in re.findall(r"\b([A-Z_]{4,}), ([A-Z_]{4,})\b", told_by_grpc):
            assert (code, reason) in over_grpc, row
        for status, code in re.findall(r"\b(\d{3}), ([A-Z_]{4,})\b", told_by_http):
            assert (status, code) in over_http, row


def test_ranges_of_sampling() -> None:
    """The table has the ranges that values are moved into, which the proto refuses others by."""
    rows = {
        row[0].strip("`"): (float(row[1]), float(row[2])) for row in _rows("## Ranges of sampling")
    }
    assert rows == CLAMPED_RANGES


def test_limits_of_keys() -> None:
    """The table has each limit that a key may have, and its end."""
    fields = [row[1].strip("`") for row in _rows("## API keys")]
    assert fields == [*(field.name for field in dataclasses.fields(Limits)), "expires"]


@pytest.mark.parametrize("heading", ["## Limits with a variable", *_OF_CONSTANTS, "## API keys"])
def test_each_row_names_its_test(heading: str) -> None:
    """The test that is named is there."""
    for row in _rows(heading):
        path, _, test = row[-1].strip("`").partition("::")
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(), row
