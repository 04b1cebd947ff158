"""What every engine must do.

An engine's test module subclasses `EngineContract` and supplies two fixtures: `launcher`, and
`engine`, launched once, with `max_running=16`, `max_model_len=1024` and prefix caching, serving
SmolLM2-135M-Instruct.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import uuid4

import pytest
import pytest_asyncio
from tokenwire.server.engine import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Delta,
    Engine,
    EngineEvent,
    EngineLauncher,
    EngineRequest,
    Finished,
    FinishReason,
    InfillPrompt,
    LoadProgress,
    Prefill,
    Prompt,
    RenderedPrompt,
    Role,
    SamplingParams,
    TextPrompt,
    TokenPrompt,
)
from tokenwire.server.errors import EngineLost, InvalidRequest

HANG_S = 120.0
"""A guard against hangs: far above what any of these takes on a busy machine."""

GREEDY = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=24)
RANDOM = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=12, seed=1, ignore_eos=True)
PARIS = ChatPrompt(
    (
        ChatMessage(Role.SYSTEM, "You are a helpful assistant."),
        ChatMessage(Role.USER, "What is the capital of France?"),
    )
)
PARIS_ANSWER = "The capital of France is Paris."
STORY = TextPrompt("Once upon a time, in a small village by the sea,")
WORDS = (
    "apple", "river", "stone", "cloud", "table", "green", "music", "horse",
    "paper", "light", "dream", "chair", "bread", "water", "snake", "tiger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """A generation that went to its end."""

    events: tuple[EngineEvent, ...]

    @property
    def deltas(self) -> tuple[Delta, ...]:
        return tuple(event for event in self.events if isinstance(event, Delta))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def finished(self) -> Finished:
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last


def request_for(
    prompt: RenderedPrompt, params: SamplingParams = GREEDY, cache_salt: str = ""
) -> EngineRequest:
    return EngineRequest(uuid4().hex, prompt, params, cache_salt)


async def drain(events: AsyncIterator[EngineEvent]) -> Answer:
    async with asyncio.timeout(HANG_S):
        return Answer(tuple([event async for event in events]))


async def answer(
    engine: Engine, prompt: Prompt, params: SamplingParams = GREEDY, cache_salt: str = ""
) -> Answer:
    async with asyncio.timeout(HANG_S):
        rendered = await engine.render(prompt)
        async with aclosing(engine.generate(request_for(rendered, params, cache_salt))) as events:
            return await drain(events)


async def id_of(engine: Engine, text: str) -> int:
    """The id of a text that is one token."""
    return (await engine.render(TextPrompt(text))).token_ids[-1]


async def long_prompt(engine: Engine, num_tokens: int) -> RenderedPrompt:
    one = await id_of(engine, " and")
    return RenderedPrompt((one,) * num_tokens)


async def assert_idle(engine: Engine) -> None:
    async with asyncio.timeout(HANG_S):
        assert (await engine.status()).num_running == 0


class EngineContract:
    """What every engine must do; `lacks` names what one cannot do, with the reason."""

    lacks: ClassVar[dict[str, str]] = {}

    def need(self, ability: str) -> None:
        if ability in self.lacks:
            pytest.skip(f"{ability}: {self.lacks[ability]}")

    # --- What the model is

    async def test_info_describes_model(self, engine: Engine) -> None:
        """The sizes of the loaded model are told as they are."""
        info = engine.info
        assert info.vocab_size == 49_152
        assert 130_000_000 < info.num_parameters < 170_000_000
        assert info.context_length == 1_024
        assert info.max_running == 16
        assert info.engine

    @pytest.mark.parametrize(
        "ability", ["seeds", "token_ids", "min_tokens", "stop_token_ids", "chat"]
    )
    async def test_capability_is_told_truly(self, engine: Engine, ability: str) -> None:
        """What the engine claims to do is what this suite tests it to do."""
        assert getattr(engine.info.capabilities, ability) == (ability not in self.lacks)

    # --- Prompts

    async def test_render_chat_applies_template(self, engine: Engine) -> None:
        """A conversation becomes the template's text, with the turn of the assistant opened."""
        text = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        assert (await engine.render(PARIS)) == (await engine.render(TextPrompt(text)))

    async def test_render_chat_keeps_assistant_turn(self, engine: Engine) -> None:
        """A last message of the assistant is history: a new turn begins behind it."""
        messages = (*PARIS.messages, ChatMessage(Role.ASSISTANT, "It is"))
        rendered = await engine.render(ChatPrompt(messages))
        opened = await engine.render(TextPrompt("It is<|im_end|>\n<|im_start|>assistant\n"))
        assert rendered.token_ids[-len(opened.token_ids) :] == opened.token_ids

    async def test_render_chat_keeps_consecutive_roles(self, engine: Engine) -> None:
        """A template that takes two messages of one role in a row is given two."""
        messages = (ChatMessage(Role.USER, "Hello."), ChatMessage(Role.USER, "Who are you?"))
        rendered = await engine.render(ChatPrompt(messages))
        start = await id_of(engine, "<|im_start|>")
        assert rendered.token_ids.count(start) == 4  # system, twice user, assistant

    async def test_render_text_is_stable(self, engine: Engine) -> None:
        """The same text gives the same tokens, all of the vocabulary."""
        first = await engine.render(STORY)
        assert first == await engine.render(STORY)
        assert all(0 <= token_id < engine.info.vocab_size for token_id in first.token_ids)

    async def test_render_token_ids_as_given(self, engine: Engine) -> None:
        """Token ids are passed on as they are."""
        ids = (await engine.render(STORY)).token_ids
        assert (await engine.render(TokenPrompt(ids))).token_ids == ids

    @pytest.mark.parametrize("token_id", [49_152, 2**31, 2**32 - 1, -1])
    async def test_render_refuses_foreign_token(self, engine: Engine, token_id: int) -> None:
        """An id outside the vocabulary is refused, naming the field."""
        with pytest.raises(InvalidRequest) as caught:
            await engine.render(TokenPrompt((1, token_id)))
        assert [field for field, _ in caught.value.violations] == ["token_ids"]

    async def test_render_infill_refused_without_markers(self, engine: Engine) -> None:
        """A model without fill-in-the-middle tokens refuses a suffix, naming the field."""
        assert not engine.info.capabilities.fill_in_the_middle
        with pytest.raises(InvalidRequest) as caught:
            await engine.render(InfillPrompt("def add(a, b):\n    return ", "\n"))
        assert [field for field, _ in caught.value.violations] == ["suffix"]

    async def test_render_while_generating(self, engine: Engine) -> None:
        """Rendering needs no slot and disturbs no stream."""
        rendered = await engine.render(PARIS)
        async with aclosing(engine.generate(request_for(rendered))) as events:
            first = await anext(events)
            assert await engine.render(PARIS) == rendered
            rest = await drain(events)
        assert Answer((first, *rest.events)).text == PARIS_ANSWER

    # --- The order of events

    async def test_whole_answer(self, engine: Engine) -> None:
        """A question is answered to the model's own end."""
        result = await answer(engine, PARIS)
        assert result.text == PARIS_ANSWER
        assert result.finished.reason is FinishReason.EOS
        assert result.finished.matched is None

    async def test_finished_once_and_last(self, engine: Engine) -> None:
        """There is exactly one end, and nothing behind it."""
        kinds = [type(event) for event in (await answer(engine, PARIS)).events]
        assert kinds.count(Finished) == 1
        assert kinds[-1] is Finished

    async def test_accepted_once_before_deltas(self, engine: Engine) -> None:
        """There is exactly one acceptance, before any text."""
        kinds = [type(event) for event in (await answer(engine, PARIS)).events]
        assert kinds.count(Accepted) == 1
        assert kinds.index(Accepted) < kinds.index(Delta)

    async def test_prefill_never_goes_back(self, engine: Engine) -> None:
        """Progress grows, stays within the prompt and ends before the text begins."""
        rendered = await engine.render(PARIS)
        result = await answer(engine, PARIS)
        kinds = [type(event) for event in result.events]
        steps = [event for event in result.events if isinstance(event, Prefill)]
        processed = [step.num_processed_tokens for step in steps]
        assert processed == sorted(processed)
        assert all(step.num_prompt_tokens == len(rendered.token_ids) for step in steps)
        assert all(number <= len(rendered.token_ids) for number in processed)
        assert Prefill not in kinds[kinds.index(Delta) :]

    async def test_streams_piece_by_piece(self, engine: Engine) -> None:
        """Text comes in several deltas, not at the end."""
        assert len((await answer(engine, PARIS)).deltas) > 2

    # --- Counting

    @pytest.mark.parametrize("max_tokens", [1, 2, 5])
    async def test_max_tokens_exact(self, engine: Engine, max_tokens: int) -> None:
        """A generation stops at its limit, not before and not behind."""
        params = replace(GREEDY, max_tokens=max_tokens, ignore_eos=True)
        finished = (await answer(engine, STORY, params)).finished
        assert finished.reason is FinishReason.LENGTH
        assert finished.num_completion_tokens == max_tokens

    async def test_shorter_is_beginning_of_longer(self, engine: Engine) -> None:
        """The limit only cuts: it changes nothing before it."""
        long = await answer(engine, STORY, replace(GREEDY, max_tokens=8))
        short = await answer(engine, STORY, replace(GREEDY, max_tokens=4))
        assert long.text.startswith(short.text)
        assert short.text

    async def test_end_token_counts(self, engine: Engine) -> None:
        """The count holds every token of the text, and the end token."""
        result = await answer(engine, PARIS)
        num_tokens = len((await engine.render(TextPrompt(PARIS_ANSWER))).token_ids)
        assert result.finished.num_completion_tokens == num_tokens + 1

    async def test_deltas_count_tokens(self, engine: Engine) -> None:
        """The tokens of the deltas sum up to the tokens of the answer."""
        result = await answer(engine, STORY, replace(GREEDY, max_tokens=8, ignore_eos=True))
        assert sum(delta.num_tokens for delta in result.deltas) == 8

    async def test_delta_token_ids(self, engine: Engine) -> None:
        """The ids of the deltas are the tokens of the text."""
        self.need("token_ids")
        result = await answer(engine, STORY, replace(GREEDY, max_tokens=8, ignore_eos=True))
        ids = tuple(token_id for delta in result.deltas for token_id in delta.token_ids)
        assert len(ids) == 8
        assert (await engine.render(TextPrompt(result.text))).token_ids == ids

    async def test_token_ids_left_out_where_unknown(self, engine: Engine) -> None:
        """An engine that cannot tell all ids tells none."""
        if engine.info.capabilities.token_ids:
            pytest.skip("this engine tells them")
        assert all(not delta.token_ids for delta in (await answer(engine, PARIS)).deltas)

    async def test_prompt_filling_context_ends_with_length(self, engine: Engine) -> None:
        """Prompt and answer together may have exactly the context's length."""
        prompt = await long_prompt(engine, engine.info.context_length - 4)
        params = replace(GREEDY, max_tokens=4, ignore_eos=True)
        finished = (await drain(engine.generate(request_for(prompt, params)))).finished
        assert finished.reason is FinishReason.LENGTH
        assert finished.num_completion_tokens == 4

    # --- Prefix caching

    async def test_second_prompt_is_cached(self, engine: Engine) -> None:
        """A prompt that was just read is not read again, and that is told."""
        prompt = TextPrompt("A prompt of its own for the cache. " * 12)
        params = replace(GREEDY, max_tokens=2)
        first = await answer(engine, prompt, params)
        second = await answer(engine, prompt, params)
        assert second.finished.num_cached_prompt_tokens > first.finished.num_cached_prompt_tokens
        assert second.text == first.text

    async def test_cache_salts_are_apart(self, engine: Engine) -> None:
        """What was cached under one salt is not used under another."""
        # A beginning of its own: nothing else may have been cached for it.
        prompt = TextPrompt(f"{uuid4().hex} is nobody else's business. " * 4)
        params = replace(GREEDY, max_tokens=2)
        mine, theirs = uuid4().hex, uuid4().hex
        await answer(engine, prompt, params, mine)
        other = await answer(engine, prompt, params, theirs)
        plain = await answer(engine, prompt, params)
        assert other.finished.num_cached_prompt_tokens == 0
        assert plain.finished.num_cached_prompt_tokens == 0

    async def test_cached_count_agrees(self, engine: Engine) -> None:
        """Acceptance, where it counts cached tokens, and the end tell the same number."""
        result = await answer(engine, PARIS)
        accepted = next(event for event in result.events if isinstance(event, Accepted))
        told = accepted.num_cached_prompt_tokens
        assert told is None or told == result.finished.num_cached_prompt_tokens

    # --- Stop strings

    @pytest.mark.parametrize("length", [1, 3, 7])
    async def test_stop_at_every_split(self, engine: Engine, length: int) -> None:
        """A stop string ends the text before it, wherever it lies, and no part of it is told."""
        stops = [PARIS_ANSWER[at : at + length] for at in range(len(PARIS_ANSWER) - length + 1)]
        results = await asyncio.gather(
            *(answer(engine, PARIS, replace(GREEDY, stop=(stop,))) for stop in stops)
        )
        for stop, result in zip(stops, results, strict=True):
            assert result.text == PARIS_ANSWER[: PARIS_ANSWER.index(stop)], stop
            assert result.finished.reason is FinishReason.STOP, stop
            assert result.finished.matched == stop

    async def test_stop_at_first_token(self, engine: Engine) -> None:
        """A stop string at the very beginning leaves an empty text."""
        result = await answer(engine, PARIS, replace(GREEDY, stop=("The",)))
        assert result.text == ""
        assert result.finished.matched == "The"

    async def test_first_of_several_stops(self, engine: Engine) -> None:
        """Of several stop strings the one that comes first in the text ends it."""
        stops = ("Paris", " of ", "Berlin")
        result = await answer(engine, PARIS, replace(GREEDY, stop=stops))
        assert result.text == "The capital"
        assert result.finished.matched == " of "

    async def test_unmatched_stop_holds_nothing_back(self, engine: Engine) -> None:
        """Text that only began like a stop string is told in the end."""
        stops = ("France is Berlin", "Paris. It", ".\n\n\n")
        result = await answer(engine, PARIS, replace(GREEDY, stop=stops))
        assert result.text == PARIS_ANSWER
        assert result.finished.reason is FinishReason.EOS

    @pytest.mark.parametrize("max_tokens", [4, 5, 6])
    async def test_limit_inside_possible_stop(self, engine: Engine, max_tokens: int) -> None:
        """Text held back for a stop string is told when the limit comes first."""
        params = replace(GREEDY, max_tokens=max_tokens)
        plain = await answer(engine, PARIS, params)
        held = await answer(engine, PARIS, replace(params, stop=("capital of France is Paris!",)))
        assert held.text == plain.text
        assert held.finished.reason is FinishReason.LENGTH

    async def test_stop_of_template(self, engine: Engine) -> None:
        """The stop strings that come with the prompt are honoured like the request's own."""
        rendered = replace(await engine.render(PARIS), stop=(" France",))
        result = await drain(engine.generate(request_for(rendered)))
        assert result.text == "The capital of"
        assert result.finished.matched == " France"

    async def test_stop_with_wide_characters(self, engine: Engine) -> None:
        """A stop string of several bytes a character is matched whole."""
        result = await answer(
            engine, TextPrompt("🌍🦊🌍🦊🌍🦊🌍🦊🌍"), replace(GREEDY, max_tokens=16, stop=("🦊",))
        )
        assert "🦊" not in result.text
        assert "\ufffd" not in result.text

    async def test_stop_token_id(self, engine: Engine) -> None:
        """A stop token ends the text and is told by its id."""
        self.need("stop_token_ids")
        paris = await id_of(engine, " Paris")
        result = await answer(engine, PARIS, replace(GREEDY, stop_token_ids=(paris,)))
        assert result.finished.reason is FinishReason.STOP
        assert result.finished.matched == paris
        assert "." not in result.text

    # --- Sampling

    async def test_greedy_repeats(self, engine: Engine) -> None:
        """At temperature 0 the same prompt gives the same text."""
        params = replace(GREEDY, max_tokens=10)
        first = await answer(engine, STORY, params)
        assert (await answer(engine, STORY, params)).text == first.text

    @pytest.mark.parametrize(
        "narrowed",
        [
            replace(RANDOM, top_k=1),
            replace(RANDOM, min_p=1.0),
            replace(RANDOM, top_p=1e-6),
            replace(RANDOM, temperature=1e-9),
        ],
        ids=["top_k", "min_p", "top_p", "temperature"],
    )
    async def test_narrowest_choice_is_greedy(
        self, engine: Engine, narrowed: SamplingParams
    ) -> None:
        """A cut that leaves one token leaves the likeliest."""
        narrowed = replace(narrowed, max_tokens=8, ignore_eos=False)
        assert (await answer(engine, PARIS, narrowed)).text == PARIS_ANSWER

    async def test_seed_repeats(self, engine: Engine) -> None:
        """The same seed gives the same text."""
        self.need("seeds")
        first = await answer(engine, STORY, RANDOM)
        assert (await answer(engine, STORY, RANDOM)).text == first.text

    @pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
    async def test_every_seed_repeats(self, engine: Engine, seed: int) -> None:
        """The smallest and the largest seeds are seeds like any other."""
        self.need("seeds")
        params = replace(RANDOM, seed=seed)
        first = await answer(engine, STORY, params)
        assert (await answer(engine, STORY, params)).text == first.text

    async def test_other_seed_other_text(self, engine: Engine) -> None:
        """Another seed gives another text."""
        self.need("seeds")
        texts = {
            (await answer(engine, STORY, replace(RANDOM, seed=seed))).text for seed in (1, 2, 3)
        }
        assert len(texts) == 3

    async def test_temperature_varies(self, engine: Engine) -> None:
        """Without a seed, a warm model does not repeat itself."""
        params = replace(RANDOM, seed=None)
        texts = {(await answer(engine, STORY, params)).text for _ in range(3)}
        assert len(texts) > 1

    @pytest.mark.parametrize(
        "penalised",
        [
            replace(GREEDY, presence_penalty=2.0),
            replace(GREEDY, frequency_penalty=2.0),
            replace(GREEDY, repetition_penalty=2.0),
        ],
        ids=["presence", "frequency", "repetition"],
    )
    async def test_penalty_breaks_repetition(
        self, engine: Engine, penalised: SamplingParams
    ) -> None:
        """A text that would go round in circles does not, with a penalty."""
        prompt = TextPrompt("Why?\n")
        plain = await answer(engine, prompt, replace(GREEDY, max_tokens=16))
        penalised = replace(penalised, max_tokens=16)
        assert (await answer(engine, prompt, penalised)).text != plain.text

    @pytest.mark.parametrize(
        "penalised",
        [replace(GREEDY, presence_penalty=2.0), replace(GREEDY, frequency_penalty=2.0)],
        ids=["presence", "frequency"],
    )
    async def test_penalty_spares_prompt(self, engine: Engine, penalised: SamplingParams) -> None:
        """What only the prompt has said is not penalised."""
        prompt = TextPrompt("red blue red blue red blue red")
        plain = await answer(engine, prompt, replace(GREEDY, max_tokens=1))
        assert (await answer(engine, prompt, replace(penalised, max_tokens=1))).text == plain.text

    async def test_penalised_chat_ends(self, engine: Engine) -> None:
        """A penalty does not keep a chat from its end."""
        params = replace(GREEDY, presence_penalty=1.0, frequency_penalty=1.0)
        assert (await answer(engine, PARIS, params)).finished.reason is FinishReason.EOS

    async def test_logit_bias_bans(self, engine: Engine) -> None:
        """A bias of -100 keeps a token out."""
        the = await id_of(engine, "The")
        params = replace(GREEDY, max_tokens=4, logit_bias={the: -100.0})
        assert not (await answer(engine, PARIS, params)).text.startswith("The")

    async def test_logit_bias_forces(self, engine: Engine) -> None:
        """A bias of 100 makes a token come."""
        apple = await id_of(engine, " apple")
        params = replace(GREEDY, max_tokens=3, logit_bias={apple: 100.0})
        assert (await answer(engine, PARIS, params)).text == " apple" * 3

    async def test_ignore_eos(self, engine: Engine) -> None:
        """A generation that ignores the end runs to its limit."""
        finished = (await answer(engine, PARIS, replace(GREEDY, ignore_eos=True))).finished
        assert finished.reason is FinishReason.LENGTH
        assert finished.num_completion_tokens == GREEDY.max_tokens

    async def test_min_tokens(self, engine: Engine) -> None:
        """The end does not come before the least number of tokens."""
        self.need("min_tokens")
        finished = (await answer(engine, PARIS, replace(GREEDY, min_tokens=12))).finished
        assert finished.num_completion_tokens >= 12

    # --- Characters

    @pytest.mark.parametrize("text", ["🌍🦊🌍🦊🌍🦊🌍🦊🌍", "漢字漢字漢字漢字漢"])
    async def test_characters_stay_whole(self, engine: Engine, text: str) -> None:
        """A character of several tokens is told once it is whole, wherever the limit falls."""
        results = await asyncio.gather(
            *(
                answer(engine, TextPrompt(text), replace(GREEDY, max_tokens=max_tokens))
                for max_tokens in range(1, 10)
            )
        )
        for result in results:
            assert all("\ufffd" not in delta.text for delta in result.deltas)
        assert any(character in results[-1].text for character in text)

    # --- Ends before the end

    async def test_close_before_first_event(self, engine: Engine) -> None:
        """A stream that is never read costs nothing."""
        rendered = await engine.render(STORY)
        await engine.generate(request_for(rendered)).aclose()
        await assert_idle(engine)

    async def test_cancel_while_opening(self, engine: Engine) -> None:
        """A caller that leaves before the first event frees the engine."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=400, ignore_eos=True)
        for num_turns in range(4):
            first = asyncio.create_task(
                drain(engine.generate(request_for(rendered, params))), name="opening"
            )
            for _ in range(num_turns):
                await asyncio.sleep(0)  # let it come a little further each time
            first.cancel()
            await asyncio.wait({first}, timeout=HANG_S)
            assert first.cancelled()
            await assert_idle(engine)

    async def test_close_while_prefilling(self, engine: Engine) -> None:
        """Closing while the prompt is read frees the engine."""
        token_ids = (await long_prompt(engine, 900)).token_ids
        own = (await engine.render(TextPrompt(uuid4().hex))).token_ids
        request = request_for(
            RenderedPrompt((*own, *token_ids)), replace(GREEDY, max_tokens=50, ignore_eos=True)
        )
        async with asyncio.timeout(HANG_S), aclosing(engine.generate(request)) as events:
            first = await anext(events)
        assert isinstance(first, Accepted | Prefill)
        await assert_idle(engine)

    async def test_close_while_decoding(self, engine: Engine) -> None:
        """Closing in the middle of the text frees the engine."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with (
            asyncio.timeout(HANG_S),
            aclosing(engine.generate(request_for(rendered, params))) as events,
        ):
            async for event in events:
                if isinstance(event, Delta):
                    break
        await assert_idle(engine)

    async def test_cancelled_reader_frees_engine(self, engine: Engine) -> None:
        """A cancelled task that reads a stream lets go of the engine before it ends."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        has_text = asyncio.Event()

        async def read() -> None:
            async with aclosing(engine.generate(request_for(rendered, params))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        has_text.set()

        async with asyncio.timeout(HANG_S):
            reading = asyncio.create_task(read(), name="reader")
            await has_text.wait()
            reading.cancel()
            await asyncio.wait({reading})
        await assert_idle(engine)

    async def test_close_leaves_others_alone(self, engine: Engine) -> None:
        """Closing one stream changes nothing for its neighbour."""
        neighbour = asyncio.create_task(answer(engine, PARIS), name="neighbour")
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            async with asyncio.timeout(HANG_S):
                await anext(events)
        assert (await neighbour).text == PARIS_ANSWER

    async def test_finished_stream_is_released(self, engine: Engine) -> None:
        """At the end of a stream the engine is free at once."""
        await answer(engine, PARIS)
        await assert_idle(engine)

    # --- Many at once

    async def test_sixteen_at_once(self, engine: Engine) -> None:
        """Sixteen streams side by side are each what they are alone."""
        params = replace(GREEDY, max_tokens=6)
        prompts = [TextPrompt(f"I like the {word}. " * 4 + "I like the") for word in WORDS]
        alone = [(await answer(engine, prompt, params)).text for prompt in prompts]
        together = await asyncio.gather(*(answer(engine, prompt, params) for prompt in prompts))
        assert [result.text for result in together] == alone
        assert all(text.startswith(f" {word}") for text, word in zip(alone, WORDS, strict=True))
        await assert_idle(engine)

    async def test_running_is_counted(self, engine: Engine) -> None:
        """The engine's own count shows a running request."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with asyncio.timeout(HANG_S):
            async with aclosing(engine.generate(request_for(rendered, params))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break
                assert (await engine.status()).num_running == 1

    async def test_slow_reader_loses_nothing(self, engine: Engine) -> None:
        """A reader that pauses gets the whole text all the same."""
        params = replace(GREEDY, max_tokens=12, ignore_eos=True)
        expected = (await answer(engine, STORY, params)).text
        rendered = await engine.render(STORY)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            first = await anext(events)
            assert (await answer(engine, PARIS)).text == PARIS_ANSWER
            rest = await drain(events)
        assert Answer((first, *rest.events)).text == expected

    # --- After the end

    @pytest_asyncio.fixture(loop_scope="session")
    async def closed(self, launcher: EngineLauncher) -> Engine:
        """An engine of its own, launched and closed; one that is dear to start brings another."""
        steps = list[LoadProgress]()
        engine = await launcher.launch(steps.append)
        await engine.close()
        assert steps
        return engine

    async def test_closed_engine_is_lost(self, closed: Engine) -> None:
        """A closed engine refuses every call, is told as lost, and may be closed again."""
        async with asyncio.timeout(HANG_S):
            with pytest.raises(EngineLost):
                await closed.render(STORY)
            with pytest.raises(EngineLost):
                await anext(closed.generate(request_for(RenderedPrompt((1,)))))
            with pytest.raises(EngineLost):
                await closed.status()
            assert await closed.wait_lost()
            await closed.close()
