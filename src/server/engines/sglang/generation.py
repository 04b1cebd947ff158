"""One generation in the host: from SGLang's items to safe text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from sglang.srt.managers.io_struct import GenerateReqInput

from ...engine import EngineRequest, FinishReason, SamplingParams
from .frames import Ended, Failed, Message, Released, Taken, Text
from .stop import StopMatcher, drop_cut_character

logger = logging.getLogger(__name__)

BAN: Final = -1e4
"""A bias that no logit of a real model outweighs. Not infinite: SGLang adds penalties to it."""

RETRY_ABORT_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that exist, and those that end an answer."""

    size: int
    end_ids: frozenset[int]


def sglang_params(params: SamplingParams, vocabulary: Vocabulary) -> dict[str, Any]:
    """Spells sampling values for SGLang, every one of them.

    Stop strings stay with us (`StopMatcher`): SGLang looks for them in a window of tokens, and
    misses one that the model spells in an unusual way. Ids outside the vocabulary cannot be
    generated, and would crash the scheduler as stop ids. Where end tokens are to be ignored but
    stop ids are not, the end tokens are banned, because SGLang ignores both kinds or none.
    """
    stop_ids = [token_id for token_id in params.stop_token_ids if 0 <= token_id < vocabulary.size]
    bias = {str(token_id): value for token_id, value in params.logit_bias.items()}
    if params.ignore_eos and stop_ids:
        bias |= {str(token_id): BAN for token_id in vocabulary.end_ids.difference(stop_ids)}
    return {
        "max_new_tokens": params.max_tokens,
        "min_new_tokens": params.min_tokens,
        "temperature": params.temperature,
        # top_p 0 keeps the likeliest token alone, which is what greedy means; SGLang refuses 0.
        "top_p": params.top_p or 1.0,
        "top_k": 1 if params.top_p == 0 else params.top_k or -1,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "stop_token_ids": stop_ids or None,
        "ignore_eos": params.ignore_eos and not stop_ids,
        "logit_bias": bias or None,
        "skip_special_tokens": True,
        "n": 1,
    }


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
            self._fail(f"the engine refused the request: {error}")
        except Exception:
            logger.exception("generation %s failed", self._id)
            self._fail("the engine failed while it served this request")
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
            raise ValueError("the prompt is empty or has ids outside the vocabulary")
        if self._is_over:
            return
        items = self._manager.generate_request(
            GenerateReqInput(
                input_ids=list(ids),
                sampling_params=sglang_params(self._request.params, self._vocabulary),
                rid=self._id,
                stream=True,
                extra_key=self._request.cache_salt or None,
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
            self._send(Taken(self._id, meta.get("cached_tokens") or 0))
        text: str = item["text"]
        ids: list[int] = list(item["output_ids"])
        if finish is not None:
            text = drop_cut_character(text)
            if finish["type"] == "stop" and ids and ids[-1] == finish["matched"]:
                ids.pop()
        safe = self._matcher.feed(text, is_last=finish is not None)
        self._pending_ids += ids
        if safe.matched is not None:
            if safe.text:
                self._send_text(safe.text)
            self._end(meta, FinishReason.STOP, safe.matched)
            if finish is None:
                self.abort()
            return
        # Ids whose text is still held back go with it.
        if safe.text or (finish is not None and self._pending_ids):
            self._send_text(safe.text)
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
            self._fail(f"the engine could not go on: {matched}")
        elif matched in self._request.params.stop_token_ids:
            self._end(meta, FinishReason.STOP, matched)
        else:
            self._end(meta, FinishReason.EOS, None)

    def _end(
        self, meta: Mapping[str, Any], reason: FinishReason, matched: str | int | None
    ) -> None:
        self._is_over = True
        self._send(
            Ended(
                self._id,
                reason,
                meta["completion_tokens"],
                meta.get("cached_tokens") or 0,
                matched,
            )
        )

    def _fail_aborted(self, finish: Mapping[str, Any]) -> None:
        status, message = finish.get("status_code"), finish.get("message")
        logger.error("generation %s was aborted: %s %s", self._id, status, message)
        if status == 400:
            self._fail(f"the engine refused the request: {message}")
        elif status == 503:
            self._fail("the engine's own queue is full")
        else:
            self._fail("the engine dropped the request")

    def _fail(self, description: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._send(Failed(self._id, description))


def end_ids(manager: Any) -> Set[int]:  # SGLang has no types
    """Collects the ids that end an answer, from the model's configuration and the tokenizer."""
    ids = set(manager.model_config.hf_eos_token_id or ())
    ids |= set(getattr(manager.tokenizer, "additional_stop_token_ids", None) or ())
    return {
        token_id
        for token_id in (*ids, manager.tokenizer.eos_token_id)
        if isinstance(token_id, int) and token_id >= 0
    }
