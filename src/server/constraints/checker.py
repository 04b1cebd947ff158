"""Whether a constraint can be used, asked before a generation, and whether its answer kept it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from ..contract.constraint import Constraint
from ..contract.errors import AtCapacity, GenerationFailed, InvalidRequest
from .task import Answer, Check, Checked, Compare, Compared, Fit, Refused, Task
from .trial_process import TooCostly, TrialProcess

MAX_CPU_S: Final = 0.5
"""CPU time that one constraint may take to be checked."""

_MAX_KNOWN: Final = 256
_MAX_KNOWN_CHARACTERS: Final = 1 << 18
"""Of one that is remembered: the most that a request's own constraint has. Tools may have more."""

_MAX_WAITING: Final = 256
_TOO_COSTLY: Final = "takes too much time or memory to compile"


class ConstraintChecker:
    """Checks constraints one after the other, and knows the last ones.

    grammar = await checker.check(constraint)
    fit = await checker.compare(grammar, text)
    await checker.close()
    """

    def __init__(self, max_cpu_s: float = MAX_CPU_S) -> None:
        """Lets each constraint take `max_cpu_s` of a core."""
        self._process = TrialProcess(max_cpu_s)
        self._turn = asyncio.Lock()
        self._num_waiting = 0
        self._num_tasks = 0
        self._known: OrderedDict[Constraint, str | InvalidRequest] = OrderedDict()

    @property
    def pid(self) -> int | None:
        """The id of the process that tries constraints; None before the first one."""
        return self._process.pid

    async def check(self, constraint: Constraint) -> str:
        """Returns the grammar of a constraint, in the form that engines take.

        Raises:
            InvalidRequest: it is bad or too costly; names field, reason and place.
            AtCapacity: too many wait for it.
        """
        found = self._known.get(constraint)
        if found is None:
            found = await self._try(constraint)
            if sum(map(len, constraint.texts)) <= _MAX_KNOWN_CHARACTERS:
                self._known[constraint] = found
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(constraint)
        if isinstance(found, InvalidRequest):
            raise InvalidRequest(*found.violations[0])
        return found

    async def compare(self, grammar: str, text: str) -> Fit:
        """Says how a text stands to a grammar that `check` returned.

        Raises:
            AtCapacity: too many wait for it.
            GenerationFailed: it takes too long to find out.
        """
        try:
            answer = await self._ask(Compare(self._next_number(), grammar, text))
        except TooCostly as error:
            raise GenerationFailed(
                "the answer could not be compared with its constraint"
            ) from error
        assert isinstance(answer, Compared)
        return answer.fit

    async def close(self) -> None:
        """Ends the process behind it."""
        await self._process.close()

    async def _try(self, constraint: Constraint) -> str | InvalidRequest:
        task = Check(self._next_number(), constraint.kind.value, constraint.texts)
        try:
            answer = await self._ask(task)
        except TooCostly:
            return InvalidRequest(constraint.field, _TOO_COSTLY)
        match answer:
            case Checked(grammar=grammar):
                return grammar
            case Refused(reason=reason):
                return InvalidRequest(constraint.field, reason)
            case Compared():
                raise AssertionError("an answer has the kind of its task")

    async def _ask(self, task: Task) -> Answer:
        if self._num_waiting >= _MAX_WAITING:
            raise AtCapacity(f"{_MAX_WAITING} constraints wait to be checked")
        self._num_waiting += 1
        try:
            async with self._turn:
                return await self._process.ask(task)
        except TimeoutError as error:
            raise AtCapacity("constraints are not checked in time: the server is busy") from error
        finally:
            self._num_waiting -= 1

    def _next_number(self) -> int:
        self._num_tasks += 1
        return self._num_tasks
