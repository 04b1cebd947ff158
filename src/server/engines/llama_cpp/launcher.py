"""Starts llama.cpp for one model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from ...contract.constraint import ALL_KINDS
from ...contract.engine import Capabilities, ModelInfo
from ...contract.engine_settings import EngineSettings, ModelFiles
from ...contract.errors import LoadKilled, ModelLoadFailed
from ...contract.load_progress import LoadProgress, ReportProgress
from ...contract.model_id import DEFAULT_MODEL
from ...files.formats.gguf_defects import count_gguf_bytes, find_gguf_defect, split_names
from ...files.formats.gguf_file import MalformedGguf
from ...files.formats.gguf_header import GgufHeader, read_gguf_header
from ...files.formats.gguf_tokens import GgufTokens, read_gguf_tokens
from ...machine.host_resources import measure_host
from ..answers.chat_features import NO_FEATURES
from ..fim import FimTokens
from .child.arguments import ChildArguments, ChildReport
from .child.process import LlamaCppProcess, make_socket_path
from .child.unpacking import unpacked_path
from .client import LlamaCppClient, Refused, Unreachable
from .engine import LlamaCppEngine
from .prompts.image_prompts import ImagePrompts, draw_image_mark
from .prompts.rendering import (
    PromptRenderer,
    discover_features,
    discover_fim_tokens,
    find_special_texts,
    tokenize,
)
from .prompts.template_file import MalformedTokenizer, read_chat_template
from .prompts.tokenizing import TextTokenizer
from .sizing import Sizes, TooLittleMemory, describe_cuts, size_engine

_logger = structlog.get_logger(__name__)

_HEALTH_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Plan:
    header: GgufHeader
    tokens: GgufTokens
    sizes: Sizes
    chat_template: str  # instead of the file's own; empty keeps that
    unpacked: Path | None

    @property
    def has_chat_template(self) -> bool:
        return self.header.has_chat_template or bool(self.chat_template)


class LlamaCppLauncher:
    """Starts llama.cpp children for one GGUF file."""

    def __init__(self, files: ModelFiles, settings: EngineSettings) -> None:
        self._files = files
        self._settings = settings

    async def launch(self, report: ReportProgress) -> LlamaCppEngine:
        """Starts a child and waits until it answers; see `EngineLauncher.launch`."""
        report(LoadProgress("reading the file's header"))
        plan = await asyncio.to_thread(self._prepare)
        for notice in describe_cuts(self._settings, plan.sizes):
            _logger.warning("not_honoured", model=self._files.model_id, notice=notice)
        arguments = ChildArguments(
            model_path=str(self._files.path),
            socket_path=str(make_socket_path()),
            num_slots=plan.sizes.num_slots,
            pool_tokens=plan.sizes.pool_tokens,
            num_threads=plan.sizes.num_threads,
            chat_template=plan.chat_template,
            unpacked_path=str(plan.unpacked or ""),
            projector_path=str(self._files.projector or ""),
            image_mark=draw_image_mark() if self._files.projector else "",
        )
        if plan.unpacked and not plan.unpacked.exists():
            report(LoadProgress("unpacking the weights, this once"))
        else:
            report(LoadProgress("loading the weights"))
        process = await LlamaCppProcess.start(arguments, self._files.model_id)
        client = LlamaCppClient(arguments.socket_path)
        try:
            async with asyncio.timeout(self._settings.load_timeout_s):
                child = await self._await_ready(process, client)
                if child.detail:
                    _logger.warning(
                        "weights_stay_packed", model=self._files.model_id, detail=child.detail
                    )
                report(LoadProgress("warming up"))
                return await self._open(process, client, child, plan, arguments)
        except TimeoutError as error:
            await _end(process, client)
            raise ModelLoadFailed(
                f"'{self._files.path.name}' was not loaded within "
                f"{self._settings.load_timeout_s:g} s"
            ) from error
        except (Unreachable, Refused) as error:
            # Ended first: it may be dying, and how is what the message tells.
            await _end(process, client)
            raise self._load_failed(process, process.describe_end()) from error
        except BaseException:
            await _end(process, client)
            raise

    def _prepare(self) -> _Plan:
        try:
            path = self._files.path
            defect = find_gguf_defect(path)
            if defect is not None:
                raise ModelLoadFailed(defect, detail=str(path))
            header = read_gguf_header(path)
            num_bytes = count_gguf_bytes(path) + self._check_projector()
            sizes = size_engine(self._settings, header, num_bytes, measure_host())
            tokenizer = self._files.tokenizer
            template = "" if tokenizer is None else read_chat_template(tokenizer)
            is_built_in = self._files.model_id == DEFAULT_MODEL.repo
            is_split = len(split_names(path.name)) > 1
            unpacked = unpacked_path(path) if is_built_in and not is_split else None
            return _Plan(header, read_gguf_tokens(path), sizes, template, unpacked)
        except (MalformedGguf, TooLittleMemory) as error:
            raise ModelLoadFailed(str(error), detail=str(self._files.path)) from error
        except MalformedTokenizer as error:
            detail = f"{self._files.tokenizer}: {error.__cause__}"
            raise ModelLoadFailed(str(error), detail=detail) from error

    def _check_projector(self) -> int:
        """Returns the size of the file that makes the model see, 0 without one."""
        projector = self._files.projector
        if projector is None:
            return 0
        defect = find_gguf_defect(projector, needs_tokenizer=False)
        if defect is not None:
            raise ModelLoadFailed(defect, detail=str(projector))
        return count_gguf_bytes(projector)

    async def _await_ready(self, process: LlamaCppProcess, client: LlamaCppClient) -> ChildReport:
        child = await process.report()
        if not child.version:
            # The cause comes over another pipe, which is read to its end by then.
            await process.close()
            raise self._load_failed(process, child.error, child.detail)
        while True:
            try:
                await client.get("/health")
            except Refused:
                # Polled: the server answers 503 until it is ready, and tells it no other way. The
                # caller's timeout ends this.
                await asyncio.sleep(_HEALTH_POLL_S)
            else:
                return child

    def _load_failed(
        self, process: LlamaCppProcess, reason: str, detail: str = ""
    ) -> ModelLoadFailed:
        message = f"llama.cpp cannot load '{self._files.path.name}'"
        why = reason or "it refuses the file, and the log of the server has its words"
        kind = LoadKilled if process.was_killed else ModelLoadFailed
        return kind(f"{message}: {why}", detail=process.first_error or detail)

    async def _open(
        self,
        process: LlamaCppProcess,
        client: LlamaCppClient,
        child: ChildReport,
        plan: _Plan,
        arguments: ChildArguments,
    ) -> LlamaCppEngine:
        meta = (await client.get("/v1/models"))["data"][0]["meta"]
        slots = await client.get("/slots")
        warm_up = {"prompt": "Hello", "n_predict": 1, "cache_prompt": False}
        # As long as it takes to read the weights from the disk: the load's timeout bounds it.
        await client.post("/completion", warm_up, timeout_s=None)
        begin = plan.header.begin_token_id
        features = NO_FEATURES
        if plan.has_chat_template:
            features = await discover_features(
                client, self._settings.tool_parser, self._settings.reasoning_parser
            )
        renderer = PromptRenderer(
            client=client,
            vocab_size=meta["n_vocab"],
            # The file may name a token that its tokenizer is told not to use.
            begin=begin if begin in await tokenize(client, "") else None,
            fim=(
                FimTokens(*plan.header.fim_token_ids)
                if plan.header.fim_token_ids
                else await discover_fim_tokens(client)
            ),
            features=features,
            # Of thousands, as Gemma has, it takes a part of a second.
            special=await asyncio.to_thread(find_special_texts, plan.tokens, plan.chat_template),
            reads_special=self._settings.special_tokens_in_text,
            images=ImagePrompts(client, arguments.image_mark) if arguments.image_mark else None,
        )
        info = ModelInfo(
            engine=f"llama.cpp b{child.version.rpartition('.')[2]}",
            device="cpu",
            num_parameters=meta["n_params"],
            format="gguf",
            quantization=plan.header.quantization or meta["ftype"],
            kv_cache_dtype="float16",
            context_length=min(plan.sizes.context_length, slots[0]["n_ctx"]),
            vocab_size=meta["n_vocab"],
            max_running=len(slots),
            max_token_bytes=plan.header.max_token_bytes,
            capabilities=Capabilities(
                chat=plan.has_chat_template,
                fill_in_the_middle=renderer.fim is not None,
                seeds=True,
                # The stream has only the last id of a character that took several tokens.
                token_ids=False,
                min_tokens=False,
                stop_token_ids=True,
                logprobs=True,
                tools=bool(features.tool_parser),
                reasoning=bool(features.reasoning_parser),
                reasoning_switch=bool(features.switch),
                constraints=ALL_KINDS,
                images=renderer.images is not None and plan.has_chat_template,
            ),
            tool_parser=features.tool_parser,
            reasoning_parser=features.reasoning_parser,
        )
        return LlamaCppEngine(
            info,
            process,
            client,
            renderer,
            TextTokenizer(client, info.vocab_size, self._files.path),
            num_slots=len(slots),
            batch_tokens=arguments.batch_tokens,
            prefix_caching=self._settings.prefix_caching,
        )


async def _end(process: LlamaCppProcess, client: LlamaCppClient) -> None:
    await process.close()
    await client.close()
