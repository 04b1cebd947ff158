"""One choice of a request: a request of SGLang, from its items to safe text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from .....contract.engine import EngineRequest
from .....contract.events import (
    ChoiceFinished,
    EngineEvent,
    FinishReason,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)
from ....answers.chat_features import special_texts
from ....stop_matcher import StopMatcher
from ..answer_arguments import answer_arguments
from ..internals import GenerateReqInput, trace_arguments
from ..sampling import Vocabulary, logprob_arguments, name_refused, sampling_arguments
from .earlier_text import REPLACEMENT_CHARACTER, EarlierText, read_earlier
from .prompt_logprobs import read_prompt_logprobs
from .token_split import TokenSplit
from .token_texts import TokenTexts

RETRY_ABORT_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What every generation needs of the model that SGLang has loaded."""

    manager: Any  # SGLang has no types
    vocabulary: Vocabulary
    texts: TokenTexts


class Listener(Protocol):
    """Hears what comes of a choice."""

    def start(self, num_cached: int) -> None:
        """SGLang took the choice, and found `num_cached` tokens of the prompt in its cache."""
        ...

    def say(self, event: EngineEvent) -> None:
        """A delta of the choice."""
        ...

    def finish(self, num_tokens: int) -> None:
        """The choice has ended well, with so many tokens."""
        ...

    def fail(self, message: str, detail: str = "") -> None:
        """The choice has ended badly."""
        ...


class Choice:
    """Runs one choice, until the scheduler has let go of it."""

    def __init__(
        self,
        request: EngineRequest,
        index: int,
        rid: str,
        model: LoadedModel,
        listener: Listener,
        *,
        tells_prompt: bool = False,
    ) -> None:
        """`tells_prompt`: it is this choice that tells what is asked of the prompt."""
        self._tells_prompt = tells_prompt and request.params.prompt_logprobs is not None
        self._request = request
        self._index = index
        self._rid = rid
        self._model = model
        self._listener = listener
        self._split = TokenSplit(model.texts, index)
        self._matcher = StopMatcher((*request.params.stop, *request.prompt.stop))
        self._earlier = EarlierText([], "")
        self._has_started = False
        self._is_over = False
        self._is_released = False

    async def run(self) -> None:
        """Generates; raises what SGLang raises."""
        try:
            if not self._is_over:
                await self._consume()
        finally:
            self._is_released = True

    def abort(self) -> None:
        """Tells the scheduler to drop the choice; `run` returns when it has."""
        self._is_over = True
        if self._is_released:
            return
        state = self._model.manager.rid_to_state.get(self._rid)
        if state is None or not getattr(state, "dispatched", True):
            # An abort that overtakes its request is lost on the scheduler, and a second one is
            # never sent. SGLang has no event for "sent"; it is a few turns of the loop away.
            asyncio.get_running_loop().call_later(RETRY_ABORT_S, self.abort)
            return
        self._model.manager.abort_request(self._rid)

    def refuse(self, text: str) -> None:
        """Fails the choice for what SGLang says against it."""
        field = name_refused(text)
        because = f" because of its {field}" if field else ""
        self._fail(f"the engine refused the request{because}", text)

    async def _consume(self) -> None:
        request = self._request
        prompt_ids = request.prompt.token_ids.tolist()
        earlier = request.earlier_of(self._index).token_ids.tolist()
        if earlier:
            self._earlier = read_earlier(
                self._model.texts,
                prompt_ids,
                earlier,
                skips_special=not special_texts(request.prompt.form),
            )
        num_earlier = len(self._earlier.token_ids)
        if num_earlier >= request.params.max_tokens and not self._tells_prompt:
            self._end_at_limit()
            return
        items = self._model.manager.generate_request(
            GenerateReqInput(
                input_ids=prompt_ids + self._earlier.token_ids,
                image_data=list(request.prompt.images) or None,
                sampling_params=sampling_arguments(
                    request.params, self._model.vocabulary, self._index, num_earlier
                )
                | answer_arguments(
                    request.prompt.form, request.constraint, self._earlier.token_ids
                ),
                rid=self._rid,
                stream=True,
                # SGLang adds the adapter's id to it: prefixes are shared within one adapter.
                extra_key=request.cache_salt or None,
                lora_path=request.lora_adapter or None,
                **logprob_arguments(request.params, with_prompt=self._tells_prompt),
                **trace_arguments(request.trace_headers),
            )
        )
        async with aclosing(items):
            # To the last item, also after an abort: it proves that the scheduler let go.
            async for item in items:
                if self._tells_prompt and not self._is_over:
                    await self._tell_prompt(item["meta_info"])
                if not self._is_over:
                    self._take(item)

    async def _tell_prompt(self, meta: Mapping[str, Any]) -> None:
        """Tells what the first item says of the prompt; other requests have turns between."""
        finish: Mapping[str, Any] | None = meta["finish_reason"]
        num_top = self._request.params.prompt_logprobs
        if num_top is None or (finish is not None and finish["type"] == "abort"):
            return
        self._tells_prompt = False
        self._listener.start(meta.get("cached_tokens") or 0)
        model = self._model
        for piece in read_prompt_logprobs(
            self._request.prompt, num_top, meta, model.texts, model.vocabulary.size
        ):
            self._listener.say(piece)
            await asyncio.sleep(0)
            if self._is_over:
                return

    def _take(self, item: Mapping[str, Any]) -> None:
        meta = item["meta_info"]
        finish: Mapping[str, Any] | None = meta["finish_reason"]
        if finish is not None and finish["type"] == "abort":
            # The text of such an item may be garbage.
            self._fail_aborted(finish)
            return
        self._start(meta.get("cached_tokens") or 0)
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
        pieces = self._split.push(
            text, ids, self._logprobs_of(meta, len(ids)), is_last=end is not None
        )
        num_tokens = len(self._earlier.token_ids) + meta["completion_tokens"]
        for piece in pieces[:-1]:
            if self._pass_on(self._matcher.push(piece), num_tokens, is_last=False):
                return
        if pieces or end is not None:
            last = pieces[-1] if pieces else TextDelta("", 0, choice=self._index)
            self._pass_on(self._matcher.push(last, end), num_tokens, is_last=end is not None)

    def _start(self, num_cached: int) -> None:
        """Tells the start, and what was said before."""
        if self._has_started:
            return
        self._has_started = True
        self._listener.start(num_cached)
        earlier = self._earlier
        for piece in self._split.push(earlier.text, earlier.token_ids, is_last=False):
            self._pass_on(self._matcher.push(piece), len(earlier.token_ids), is_last=False)

    def _end_at_limit(self) -> None:
        """Tells all of a choice that had its last token before."""
        self._start(0)
        end = ChoiceFinished(FinishReason.LENGTH, choice=self._index)
        events = self._matcher.push(TextDelta("", 0, choice=self._index), end)
        self._pass_on(events, len(self._earlier.token_ids), is_last=True)

    def _pass_on(
        self, events: Sequence[TextDelta | ChoiceFinished], num_tokens: int, *, is_last: bool
    ) -> bool:
        """Tells what is safe, and whether that was the end."""
        for event in events:
            self._listener.say(event)
            if isinstance(event, ChoiceFinished):
                self._is_over = True
                self._listener.finish(num_tokens)
                if not is_last:
                    self.abort()
        return self._is_over

    def _logprobs_of(self, meta: Mapping[str, Any], num_ids: int) -> list[TokenLogprob]:
        num_top = self._request.params.logprobs
        if num_top is None:
            return []
        # Of each token: its log-probability, its id and its text, which SGLang is not asked for.
        tokens: Sequence[tuple[float, int, None]] = meta["output_token_logprobs"][:num_ids]
        text_of = self._model.texts.of
        tops = meta.get("output_top_logprobs") or [()] * num_ids
        return [
            TokenLogprob(
                token_id,
                logprob,
                text_of(token_id),
                tuple(TopLogprob(top[1], top[0], text_of(top[1])) for top in top_tokens[:num_top]),
            )
            for (logprob, token_id, _), top_tokens in zip(tokens, tops, strict=False)
        ]

    def _end_of(self, finish: Mapping[str, Any]) -> ChoiceFinished | None:
        """Returns how the engine ended the choice, or fails it."""
        if finish["type"] == "length":
            return ChoiceFinished(FinishReason.LENGTH, choice=self._index)
        matched = finish["matched"]
        if not isinstance(matched, int):
            # SGLang says so when the logits are not numbers.
            self._fail("the engine could not go on", str(matched))
            return None
        if matched in self._request.params.stop_token_ids:
            return ChoiceFinished(FinishReason.STOP, matched, self._index)
        return ChoiceFinished(FinishReason.EOS, choice=self._index)

    def _fail_aborted(self, finish: Mapping[str, Any]) -> None:
        status, text = finish.get("status_code"), str(finish.get("message") or "")
        if "rammar" in text:
            text = "it could not follow a grammar"  # its own words hold texts of callers
        if status == 400:
            self.refuse(text)
        elif status == 503:
            self._fail("the engine's own queue is full", text)
        else:
            self._fail("the engine dropped the request", f"status {status}: {text}")

    def _fail(self, message: str, detail: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._listener.fail(message, detail)
