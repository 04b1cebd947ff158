"""Penalties of SGLang that count the part of an answer which stands in the prompt.

SGLang counts the tokens that it generates. Where an answer goes on that another process began, the
first ones are part of its input: they are counted here when a request's penalties are prepared.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

NUM_EARLIER: Final = "tokenwire_num_earlier"
"""The custom parameter of a request that says how many tokens at its input's end are output."""


def earlier_arguments(num_earlier: int) -> dict[str, Any]:  # SGLang has no types
    """Spells for SGLang's sampling parameters how much of the input is output; may be none."""
    return {"custom_params": {NUM_EARLIER: num_earlier}} if num_earlier else {}


def offer() -> None:
    """Has every penalty count them. Imports SGLang."""
    orchestrator = import_module("sglang.srt.sampling.penaltylib.orchestrator")
    penalizer_class = orchestrator._BatchedPenalizer
    prepare = penalizer_class.prepare

    def prepare_and_count(penalizer: Any) -> None:
        was_prepared = penalizer.is_prepared()
        prepare(penalizer)
        if not was_prepared:
            _count_earlier(penalizer)

    penalizer_class.prepare = prepare_and_count


def _count_earlier(penalizer: Any) -> None:
    # By the names of what each penalty keeps: [num_requests, vocab_size], and [num_requests, 1].
    for kind, counts_each in (("presence", False), ("frequency", True), ("repetition", False)):
        cumulated = getattr(penalizer, f"cumulated_{kind}_penalties", None)
        if cumulated is None:
            continue
        own = getattr(penalizer, f"{kind}_penalties")
        for row, request in enumerate(penalizer.orchestrator.reqs()):
            custom: dict[str, Any] = request.sampling_params.custom_params or {}
            num_earlier: int = custom.get(NUM_EARLIER, 0)
            if not num_earlier:
                continue
            ids = cumulated.new_tensor(_counted(penalizer, request, num_earlier)).long()
            if counts_each:
                cumulated[row].index_add_(0, ids, own[row].expand(len(ids)).to(cumulated.dtype))
            else:
                cumulated[row, ids] = own[row]


def _counted(penalizer: Any, request: Any, num_earlier: int) -> list[int]:
    """Lists what SGLang would have counted by now, had it generated the earlier tokens itself.

    With its overlapping schedule it counts the last token of its input at first, and each output
    token one step late: so the last of the input will be counted by the next step.
    """
    input_ids = list(request.origin_input_ids)
    if getattr(penalizer.orchestrator.batch, "enable_overlap", False):
        return input_ids[-num_earlier - 1 : -1]
    return input_ids[-num_earlier:]
