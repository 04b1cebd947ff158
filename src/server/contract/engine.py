"""What the front asks of an engine. What it gets back is in `events.py`.

Requests and what an engine tells of itself travel to SGLang's host and back as they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .earlier_output import NOTHING_SAID, EarlierOutput
from .events import EngineEvent
from .load_progress import ReportProgress
from .prompts import PlainText, Prompt, RenderedPrompt, TokenizedText
from .token_ids import TokenIds


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Every sampling value of a request, with defaults already applied and ranges checked.

    Temperature 0 is greedy, and none is between 0 and 1e-6. `top_k` 0, `min_p` 0, `top_p` 1,
    `repetition_penalty` 1 and the other penalties 0 are off. `seed` is a uint32, None where the
    engine honours none. `max_tokens` fits into the context behind the prompt; it is 0 only where
    nothing but `prompt_logprobs` is asked for.

    `n` choices are made of the prompt, from 1 to 16, each with a seed of its own (`seed_of`).
    `logprobs` is how many of the likeliest tokens are told with each token, from 0 to 20; None: no
    log-probabilities at all. `prompt_logprobs` is the same for the tokens of the prompt, which are
    told once.
    """

    temperature: float
    top_p: float
    max_tokens: int
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    ignore_eos: bool = False
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: int | None = None

    def seed_of(self, choice: int) -> int | None:
        """Returns the seed of a choice: `seed` plus its index; the largest uint32 goes on at 0."""
        return None if self.seed is None else (self.seed + choice) % (1 << 32)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One generation.

    `request_id` is 32 hexadecimal characters, unique for ever: SGLang matches ids by prefix.
    Requests share the prefix cache with those of the same `cache_salt`. `lora_adapter` may be "".
    `trace_headers` are W3C headers, for an engine that traces by itself. `constraint` is a grammar
    of llguidance that the whole answer fits, from its first token on; empty: none.

    `earlier` is what engines before said of each choice; empty: nothing. The answer goes on behind
    it, with penalties, constraint, seed and limits as if one engine had said all of it, and is told
    from its first token on: what was said before comes again first, as the same text, without
    log-probabilities.
    """

    request_id: str
    prompt: RenderedPrompt
    params: SamplingParams
    cache_salt: str = ""
    lora_adapter: str = ""
    trace_headers: tuple[tuple[str, str], ...] = ()
    constraint: str = ""
    earlier: tuple[EarlierOutput, ...] = ()

    def earlier_of(self, choice: int) -> EarlierOutput:
        """Returns what engines before said of a choice."""
        return self.earlier[choice] if self.earlier else NOTHING_SAID

    @property
    def open_choices(self) -> list[int]:
        """The choices that are to be generated: all, or those that engines before did not end."""
        return [each for each in range(self.params.n) if not self.earlier_of(each).has_ended]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do on the engine that runs it.

    `reasoning` tells thinking from text; `reasoning_switch` turns thinking on and off.
    `constraints` are the values of the `ConstraintKind`s that it takes.
    """

    chat: bool
    fill_in_the_middle: bool
    seeds: bool
    token_ids: bool
    min_tokens: bool
    stop_token_ids: bool
    logprobs: bool = False
    prompt_logprobs: bool = False
    tools: bool = False
    reasoning: bool = False
    reasoning_switch: bool = False
    constraints: tuple[str, ...] = ()
    images: bool = False


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an engine reports about the model it has loaded.

    `engine` holds name and version (`llama.cpp b11549`). `context_length` is the most tokens of
    prompt and answer together that one request may have. `max_running` is the number of
    requests that the engine runs at once. `has_kv_cache_scales` is None where the KV cache is
    not FP8; without scales of its own such a cache loses accuracy. `max_token_bytes` is an
    upper bound of the bytes of text that one token can stand for, 0 where there is none.
    `lora_adapters` are the names of the adapters that requests may ask for.

    `gpu_ids` are the GPUs that it runs on, as `CUDA_VISIBLE_DEVICES` names them, and
    `kv_pool_bytes` is what it reserved for the KV cache on each; None where it does not tell.
    `tool_parser` and `reasoning_parser` read calls and thinking; empty: none does.
    """

    engine: str
    device: str
    num_parameters: int
    format: str
    quantization: str
    kv_cache_dtype: str
    context_length: int
    vocab_size: int
    max_running: int
    capabilities: Capabilities
    has_kv_cache_scales: bool | None = None
    lora_adapters: tuple[str, ...] = ()
    max_token_bytes: int = 0
    gpu_ids: tuple[str, ...] = ()
    kv_pool_bytes: int | None = None
    tool_parser: str = ""
    reasoning_parser: str = ""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine's own count of its work. `kv_usage` is in [0, 1], None where it is not known."""

    num_running: int
    num_queued: int
    kv_usage: float | None = None


@dataclass(frozen=True, slots=True)
class StepCount:
    """How far an engine has come.

    `num_steps` changes with every step that it computes for a request, and stays while it rests.
    `longest_step_s` is what its own speed so far makes likely for a step full of prompt tokens, 0
    where that is not known.
    """

    num_steps: int
    longest_step_s: float = 0.0


class Engine(Protocol):
    """One loaded model in a child process of its own.

        prompt = await engine.render(ChatPrompt(messages))
        async with aclosing(engine.generate(EngineRequest(uuid4().hex, prompt, params))) as events:
            async for event in events: ...

    It lives as long as the child: after its death every call raises `EngineLost`.
    """

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        ...

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group's."""
        ...

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Applies template and tokenizer. Needs no slot; a conversation needs `capabilities.chat`.

        Raises:
            InvalidRequest: empty after tokenising, an id outside the vocabulary, a suffix without
                tokens to fill in the middle with, or a conversation that the template refuses.
                Names the field.
            EngineLost: the child is dead.
        """
        ...

    async def tokenize(self, text: PlainText) -> TokenizedText:
        """Applies the tokenizer alone. Needs no slot.

        Raises:
            EngineLost: the child is dead.
        """
        ...

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        """Returns what tokens stand for, special ones by their names. Needs no slot.

        Bytes, because a part of the tokens of a text need not end with a whole character.

        Raises:
            InvalidRequest: an id outside the vocabulary. Names `token_ids`.
            EngineLost: the child is dead.
        """
        ...

    def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        """Prefills, then decodes until a stop condition.

        Yields the events in the order that `contract/events.py` tells. Closing the iterator aborts
        the request, and returns once the engine has let go of it (bounded by 10 s).

        Raises:
            InvalidRequest: a stop token id that the engine does not see in its stream.
            GenerationFailed: the engine refused or failed the request.
            EngineLost: the child died.
        """
        ...

    async def status(self) -> EngineStatus:
        """Asks the engine for its own count of running requests.

        Raises:
            EngineLost: the child is dead.
        """
        ...

    async def count_steps(self) -> StepCount:
        """Asks how far the engine has come. The caller bounds the wait: a frozen one is silent.

        Raises:
            EngineLost: the child is dead.
        """
        ...

    async def read_metrics(self) -> str:
        """Returns the engine's own series as Prometheus text, its name and a colon before each.

        May be empty. The caller bounds the wait: a busy engine answers between two steps.

        Raises:
            EngineLost: the child is dead.
        """
        ...

    async def wait_lost(self) -> str:
        """Returns why, for the log alone, once the child is dead or must be replaced."""
        ...

    async def close(self) -> None:
        """Ends the child's whole process group. Bounded, repeatable, also after a death."""
        ...


class EngineLauncher(Protocol):
    """Starts engines for one model.

    engine = await launcher.launch(lambda progress: print(progress.text))
    why = await engine.wait_lost()
    await engine.close()  # then launch another
    """

    async def launch(self, report: ReportProgress) -> Engine:
        """Starts a child, loads the model and answers one warm-up request.

        Cancelling ends the child.

        Raises:
            ModelLoadFailed: the model cannot be loaded.
        """
        ...
