"""One generation in the host: from SGLang's items to safe text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from ....contract.engine import EngineRequest, Finished, FinishReason
from ...stop_matcher import StopMatcher
from ..messages import Failed, GenerationFinished, GenerationStarted, Message, Released, Text
from .internals import GenerateReqInput
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
        self._pending_ids: list[int] = []
        self._is_taken = False
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
        if not ids or min(ids) < 0 or max(ids) >= self._vocabulary.size:
            self._fail("the prompt is empty or has ids outside the vocabulary")
        if self._is_over:
            return  # aborted, or failed above
        items = self._manager.generate_request(
            GenerateReqInput(
                input_ids=list(ids),
                sampling_params=sampling_arguments(self._request.params, self._vocabulary),
                rid=self._id,
                stream=True,
                # SGLang adds the adapter's id to it: prefixes are shared within one adapter.
                extra_key=self._request.cache_salt or None,
                lora_path=self._request.lora_adapter or None,
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
        if not self._is_taken:
            self._is_taken = True
            self._send(GenerationStarted(self._id, meta.get("cached_tokens") or 0))
        text: str = item["text"]
        ids: list[int] = list(item["output_ids"])
        if finish is not None:
            # What a decoder puts in place of a last character whose bytes are incomplete.
            text = text.rstrip(REPLACEMENT_CHARACTER)
            if finish["type"] == "stop" and ids and ids[-1] == finish["matched"]:
                ids.pop()
        passed = self._matcher.push(text, is_last=finish is not None)
        self._pending_ids += ids
        if passed.matched is not None:
            if passed.text:
                self._send_text(passed.text)
            self._end(meta, FinishReason.STOP, passed.matched)
            if finish is None:
                self.abort()
            return
        # Ids whose text is still held back go with it.
        if passed.text or (finish is not None and self._pending_ids):
            self._send_text(passed.text)
        if finish is not None:
            self._end_by_engine(meta, finish)

    def _send_text(self, text: str) -> None:
        self._send(Text(self._id, text, tuple(self._pending_ids)))
        self._pending_ids.clear()

    def _end_by_engine(self, meta: Mapping[str, Any], finish: Mapping[str, Any]) -> None:
        if finish["type"] == "length":
            self._end(meta, FinishReason.LENGTH, None)
            return
        matched = finish["matched"]
        if not isinstance(matched, int):
            # SGLang says so when the logits are not numbers.
            self._fail("the engine could not go on", str(matched))
        elif matched in self._request.params.stop_token_ids:
            self._end(meta, FinishReason.STOP, matched)
        else:
            self._end(meta, FinishReason.EOS, None)

    def _end(
        self, meta: Mapping[str, Any], reason: FinishReason, matched: str | int | None
    ) -> None:
        self._is_over = True
        num_cached = meta.get("cached_tokens") or 0
        finished = Finished(reason, meta["completion_tokens"], num_cached, matched)
        self._send(GenerationFinished(self._id, finished))

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
