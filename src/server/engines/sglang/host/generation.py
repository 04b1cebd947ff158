"""One generation in the host: from SGLang's items to safe text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from ....contract.engine import EngineRequest
from ....contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from ...stop_matcher import StopMatcher
from ..messages import Event, Failed, Message, Released
from .internals import GenerateReqInput, trace_arguments
from .sampling import Vocabulary, name_refused, sampling_arguments

_logger = logging.getLogger(__name__)

RETRY_ABORT_S: Final = 0.005
REPLACEMENT_CHARACTER: Final = "\ufffd"


class Generation:
    """Runs one request and says what comes of it; the last word is always `Released`."""

    def __init__(
        self,
        request: EngineRequest,
        manager: Any,  # SGLang has no types
        vocabulary: Vocabulary,
        send: Callable[[Message], None],
    ) -> None:
        self._request = request
        self._id = request.request_id
        self._manager = manager
        self._vocabulary = vocabulary
        self._send = send
        self._matcher = StopMatcher((*request.params.stop, *request.prompt.stop))
        self._has_started = False
        self._is_over = False
        self._is_released = False

    async def run(self) -> None:
        """Generates until the scheduler has let go of the request."""
        try:
            await self._consume()
        except (ValueError, TypeError) as error:
            # SGLang's own check of the request, before the scheduler has seen it.
            self._refuse(str(error))
        except Exception as error:
            _logger.exception("generation_failed", extra={"request_id": self._id})
            self._fail(
                "the engine failed while it served this request", f"{type(error).__name__}: {error}"
            )
        finally:
            self._is_released = True
            self._send(Released(self._id))

    def abort(self) -> None:
        """Tells the scheduler to drop the request; `run` returns when it has."""
        self._is_over = True
        if self._is_released:
            return
        state = self._manager.rid_to_state.get(self._id)
        if state is None or not getattr(state, "dispatched", True):
            # An abort that overtakes its request is lost on the scheduler, and a second one is
            # never sent. SGLang has no event for "sent"; it is a few turns of the loop away.
            asyncio.get_running_loop().call_later(RETRY_ABORT_S, self.abort)
            return
        self._manager.abort_request(self._id)

    async def _consume(self) -> None:
        ids = self._request.prompt.token_ids
        if not ids or max(ids) >= self._vocabulary.size:
            self._fail("the prompt is empty or has ids outside the vocabulary")
        if self._is_over:
            return  # aborted, or failed above
        items = self._manager.generate_request(
            GenerateReqInput(
                input_ids=ids.tolist(),
                sampling_params=sampling_arguments(self._request.params, self._vocabulary),
                rid=self._id,
                stream=True,
                # SGLang adds the adapter's id to it: prefixes are shared within one adapter.
                extra_key=self._request.cache_salt or None,
                lora_path=self._request.lora_adapter or None,
                **trace_arguments(self._request.trace_headers),
            )
        )
        async with aclosing(items):
            # To the last item, also after an abort: it proves that the scheduler let go.
            async for item in items:
                if not self._is_over:
                    self._take(item)

    def _take(self, item: Mapping[str, Any]) -> None:
        meta = item["meta_info"]
        finish: Mapping[str, Any] | None = meta["finish_reason"]
        if finish is not None and finish["type"] == "abort":
            # The text of such an item may be garbage.
            self._fail_aborted(finish)
            return
        num_cached = meta.get("cached_tokens") or 0
        if not self._has_started:
            self._has_started = True
            self._send_event(Started(num_cached))
        text: str = item["text"]
        ids = tuple(item["output_ids"])
        end: ChoiceFinished | None = None
        if finish is not None:
            end = self._end_of(finish)
            if end is None:
                return
            # What a decoder puts in place of a last character whose bytes are incomplete.
            text = text.rstrip(REPLACEMENT_CHARACTER)
            if ids[-1:] == (finish.get("matched"),):
                ids = ids[:-1]
        for event in self._matcher.push(TextDelta(text, len(ids), ids), end):
            self._send_event(event)
            if isinstance(event, ChoiceFinished):
                self._is_over = True
                self._send_event(Finished(meta["completion_tokens"], num_cached))
                if finish is None:
                    self.abort()

    def _send_event(self, event: EngineEvent) -> None:
        self._send(Event(self._id, event))

    def _end_of(self, finish: Mapping[str, Any]) -> ChoiceFinished | None:
        """Returns how the engine ended the choice, or fails the request."""
        if finish["type"] == "length":
            return ChoiceFinished(FinishReason.LENGTH)
        matched = finish["matched"]
        if not isinstance(matched, int):
            # SGLang says so when the logits are not numbers.
            self._fail("the engine could not go on", str(matched))
            return None
        if matched in self._request.params.stop_token_ids:
            return ChoiceFinished(FinishReason.STOP, matched)
        return ChoiceFinished(FinishReason.EOS)

    def _fail_aborted(self, finish: Mapping[str, Any]) -> None:
        status, text = finish.get("status_code"), str(finish.get("message") or "")
        if status == 400:
            self._refuse(text)
        elif status == 503:
            self._fail("the engine's own queue is full", text)
        else:
            self._fail("the engine dropped the request", f"status {status}: {text}")

    def _refuse(self, text: str) -> None:
        field = name_refused(text)
        because = f" because of its {field}" if field else ""
        self._fail(f"the engine refused the request{because}", text)

    def _fail(self, message: str, detail: str = "") -> None:
        if not self._is_over:
            self._is_over = True
            self._send(Failed(self._id, message, detail))
