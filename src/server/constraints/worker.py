"""The process that tries constraints: `python -m tokenwire.server.constraints.worker CPU_S`.

A process of its own because a grammar can take seconds of a core and gigabytes of memory, and
nothing but its end stops that. It lives until its stdin closes, which the parent's death does too.
"""

from __future__ import annotations

import resource
import signal
import sys
from typing import Final

from ..contract.constraint import Constraint, ConstraintKind
from .bad_constraint import BadConstraint
from .grammar import write_grammar
from .json_schema import find_patterns, json_rule, parse_schema
from .regex import regex_terminal
from .schema_place import find_place
from .task import TASKS, Answer, Checked, Compare, Compared, Refused, Task, write_line
from .trial import Trial

# To compare a text takes a second for a megabyte, and its bound is no caller's to reach.
_COMPARE_FACTOR: Final = 20
_MAX_MEMORY_BYTES: Final = 1 << 30


def main() -> None:
    """Answers a task a line, each within the seconds of a core that the argument gives it."""
    max_cpu_s = float(sys.argv[1])
    trial = Trial()
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    for line in sys.stdin.buffer:
        task = TASKS.decode(line)
        limit_s = max_cpu_s * (_COMPARE_FACTOR if isinstance(task, Compare) else 1)
        # Not caught by Python, which would wait for native code to return.
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        answer = _answer(task, trial)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(write_line(answer))
        sys.stdout.buffer.flush()


def _answer(task: Task, trial: Trial) -> Answer:
    if isinstance(task, Compare):
        return Compared(task.number, trial.fit(task.grammar, task.text))
    constraint = Constraint(ConstraintKind(task.kind), task.texts)
    try:
        grammar = write_grammar(constraint)
        trial.run(grammar)
        if constraint.kind is ConstraintKind.JSON_SCHEMA:
            _try_patterns(constraint, trial)
    except BadConstraint as error:
        if constraint.kind is ConstraintKind.JSON_SCHEMA and not error.place.startswith("/"):
            error = _locate(constraint, error, trial)
        return Refused(task.number, str(error))
    return Checked(task.number, grammar)


def _try_patterns(constraint: Constraint, trial: Trial) -> None:
    """Tries each regular expression alone: a trial of the whole may not come to it."""
    for place, pattern in find_patterns(parse_schema(*constraint.texts)):
        try:
            grammar = f"start: {regex_terminal(pattern)}"
        except BadConstraint as error:
            raise BadConstraint(error.reason, f"{place}, {error.place} there") from error
        if trial.is_too_costly(grammar):
            raise BadConstraint("takes too much work to follow", place)


def _locate(constraint: Constraint, error: BadConstraint, trial: Trial) -> BadConstraint:
    try:
        schema = parse_schema(*constraint.texts)
    except BadConstraint:
        return error  # of the document as a whole
    place = find_place(
        schema,
        error.reason,
        lambda alone: trial.find_mistake(f"start: {json_rule(alone)}"),
    )
    inner = f", {error.place} there" if error.place else ""
    return BadConstraint(error.reason, f"{place}{inner}")


if __name__ == "__main__":
    main()
