"""A call's constraint: whether the model can take it, and whether the answer kept it."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from ...constraints.checker import ConstraintChecker
from ...contract.constraint import Constraint, ConstraintKind
from ...contract.engine import ModelInfo
from ...contract.errors import GenerationFailed, InvalidRequest
from ...contract.events import ChoiceFinished, Delta, FinishReason, TextDelta
from ...contract.prompts import ChatPrompt
from ...contract.tools import AnswerForm, Tool, ToolMode
from ..calls import Call


async def find_grammar(call: Call, checker: ConstraintChecker) -> str:
    """Returns the grammar that an engine gets for a call; empty: it has no constraint.

    Raises:
        InvalidRequest: the constraint is bad, or goes together with nothing else that is asked.
    """
    if call.constraint is None:
        return ""
    # The end of the constrained text is the end of the answer: beyond it there is no token.
    for field, is_set in (
        ("ignore_eos", call.sampling.ignore_eos),
        ("min_tokens", call.sampling.min_tokens > 0),
    ):
        if is_set:
            raise InvalidRequest(
                f"sampling.{field}",
                "goes together with no constraint, whose end is the end of the answer",
            )
    if isinstance(call.prompt, ChatPrompt):
        _check_conversation(call.prompt)
    return await checker.check(call.constraint)


def _check_conversation(prompt: ChatPrompt) -> None:
    # The whole answer has the shape: a call, or a thought before it, would be beside it.
    if prompt.tools and prompt.tool_choice.mode is not ToolMode.NONE:
        raise InvalidRequest(
            "constraint", "goes together with no tools that may be called: tool_choice MODE_NONE"
        )
    if prompt.thinks:
        raise InvalidRequest(
            "reasoning.enabled", "goes together with no constraint, which begins with the answer"
        )


async def check_demanded(call: Call, form: AnswerForm | None, checker: ConstraintChecker) -> None:
    """Checks the schemas of tools one of which must be called: an engine follows them then.

    Raises:
        InvalidRequest: one is bad, or all together are too costly.
    """
    if form is None or not form.forced_schema or not isinstance(call.prompt, ChatPrompt):
        return
    try:
        await checker.check(_json_schema(form.forced_schema))
    except InvalidRequest as refused:
        for index, tool in enumerate(call.prompt.tools):
            if tool in form.tools:
                await _check_tool(f"tools[{index}].parameters_schema", tool, checker)
        raise _renamed(refused, "tools") from refused


async def _check_tool(field: str, tool: Tool, checker: ConstraintChecker) -> None:
    try:
        await checker.check(_json_schema(tool.parameters_schema))
    except InvalidRequest as refused:
        raise _renamed(refused, field) from refused


def _json_schema(text: str) -> Constraint:
    return Constraint(ConstraintKind.JSON_SCHEMA, (text,))


def _renamed(refused: InvalidRequest, field: str) -> InvalidRequest:
    _, reason = refused.violations[0]
    return InvalidRequest(field, reason)


def check_kind(call: Call, model: ModelInfo) -> None:
    """Raises `InvalidRequest` where the engine of a model does not take the kind of constraint."""
    prompt, kinds = call.prompt, model.capabilities.constraints
    is_demanded = isinstance(prompt, ChatPrompt) and prompt.tool_choice.mode is ToolMode.REQUIRED
    if is_demanded and ConstraintKind.JSON_SCHEMA.value not in kinds:
        raise InvalidRequest(
            "tool_choice", f"demands no call of the engine of this model, {model.engine}"
        )
    constraint = call.constraint
    if constraint is not None and constraint.kind.value not in kinds:
        raise InvalidRequest(
            constraint.field, f"is not supported by the engine of this model, {model.engine}"
        )


class ConstrainedAnswer:
    """Compares what an engine says with the grammar that it got.

    An engine that gives a grammar up halfway, because it became too costly, may go on without it:
    that is not told as an answer.
    """

    def __init__(self, grammar: str, checker: ConstraintChecker) -> None:
        self._grammar = grammar
        self._checker = checker
        self._texts = defaultdict[int, list[str]](list)

    def add(self, delta: Delta) -> None:
        """Takes what an engine says."""
        if self._grammar and isinstance(delta, TextDelta):
            self._texts[delta.choice].append(delta.text)

    async def end(self, end: ChoiceFinished) -> ChoiceFinished:
        """Returns the end of a choice, which says whether its text is whole.

        Raises:
            GenerationFailed: the text does not fit the grammar.
        """
        if not self._grammar:
            return end
        fit = await self._checker.compare(self._grammar, "".join(self._texts[end.choice]))
        if not fit.is_beginning or (end.reason is FinishReason.EOS and not fit.is_whole):
            raise GenerationFailed("the engine did not keep to the constraint")
        return msgspec.structs.replace(end, is_incomplete=not fit.is_whole)
