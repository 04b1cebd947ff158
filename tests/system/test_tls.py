"""Both doors in TLS, with the clients that people use."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.channel import ChannelTls, open_channel
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc
from tokenwire.tls import watched_credentials

from ..certificates import HOSTNAME, PairFiles, chain_of
from ..server.fronts import Client, collect, scrape, start_front
from ..server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher
from ..surroundings import MODEL_ID as SMALL_MODEL_ID
from ..surroundings import PATIENT_PROBE, free_port
from ..test_cli import tokenwire

HANG_S = 60.0
NUM_STREAMS = 64
NUM_TOKENS = 4
TEXT = "0 1 2 3 "


@dataclass(frozen=True)
class Doors:
    """A service in TLS."""

    pair: PairFiles
    engine: ScriptedEngine
    client: Client
    edge: EdgeApp

    @property
    def grpc(self) -> int:
        return self.client.app.port

    @property
    def http(self) -> int:
        return self.edge.port

    def tls(self, **values: Any) -> ChannelTls:
        return ChannelTls(self.pair.authorities.read_bytes(), server_name=HOSTNAME, **values)

    def https(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.pair.authorities))


@asynccontextmanager
async def open_doors(pair: PairFiles, **variables: str) -> AsyncIterator[Doors]:
    """Runs a front and an edge that calls it in TLS; the certificate's name is not localhost."""
    engine = ScriptedEngine(max_running=2 * NUM_STREAMS)
    many = {
        "LLM_MAX_CONCURRENT_REQUESTS": str(2 * NUM_STREAMS),
        "TLS_CLIENT_CA_PATH": variables.pop("TLS_CLIENT_CA_PATH", ""),
    }
    async with start_front(ScriptedLauncher(engine).prepare, **many, **pair.variables()) as client:
        config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{client.app.port}",
                "LLM_GRPC_TARGET_CA_PATH": str(pair.authorities),
                "LLM_GRPC_TARGET_SERVER_NAME": HOSTNAME,
                "LLM_METRICS_TARGET": f"http://127.0.0.1:{client.app.metrics_port}/metrics",
                **pair.variables(),
                **variables,
            }
        )
        async with EdgeApp(config) as edge:
            yield Doors(pair, engine, client, edge)


@pytest_asyncio.fixture(scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    async with open_doors(PairFiles(tmp_path_factory.mktemp("tls"))) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def mutual(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    """GRPC asks for certificates; the edge has one of its own."""
    pair = PairFiles(tmp_path_factory.mktemp("mutual"))
    edges = PairFiles(tmp_path_factory.mktemp("edge"), pair.authority)
    variables = {
        "TLS_CLIENT_CA_PATH": str(pair.authorities),
        "LLM_GRPC_TARGET_CERT_PATH": str(edges.certificate),
        "LLM_GRPC_TARGET_KEY_PATH": str(edges.key),
    }
    async with open_doors(pair, **variables) as opened:
        yield opened


async def run(*command: str, fails: bool = False) -> str:
    """Runs a client to its end and returns all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(HANG_S):
        said, _ = await process.communicate()
    text = said.decode(errors="replace")
    assert bool(process.returncode) is fails, text
    return text


def installed(name: str) -> str:
    """The path of a program, beside this Python or on PATH."""
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def handshake(port: int, *options: str) -> tuple[str, ...]:
    """The command of a handshake with OpenSSL's client."""
    return (installed("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *options)


def door(doors: Doors, name: str) -> int:
    return doors.grpc if name == "grpc" else doors.http


async def list_models(port: int, tls: ChannelTls | None) -> None:
    async with open_channel(f"127.0.0.1:{port}", tls) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        models = (await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=10)).models
    assert [model.id for model in models] == [MODEL_ID]


async def is_refused(port: int, tls: ChannelTls | None) -> bool:
    try:
        await list_models(port, tls)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


async def test_python_grpc(doors: Doors) -> None:
    """A gRPC client with the CA is served; without it, by another name and in plaintext not."""
    await list_models(doors.grpc, doors.tls())
    assert await is_refused(doors.grpc, ChannelTls(server_name=HOSTNAME))
    assert await is_refused(doors.grpc, ChannelTls(doors.pair.authorities.read_bytes()))
    assert await is_refused(doors.grpc, None)


async def test_buf_curl(doors: Doors) -> None:
    """So is `buf curl`, which finds the method by reflection."""
    buf = installed("buf")
    url = f"https://127.0.0.1:{doors.grpc}/tokenwire.v1.InferenceService/ListModels"
    curl = (buf, "curl", "--protocol", "grpc", "--servername", HOSTNAME)
    said = await run(*curl, "--cacert", str(doors.pair.authorities), url)
    assert json.loads(said)["models"][0]["id"] == MODEL_ID
    # It asks for the schema first, over a connection that is refused.
    assert "failed to find service" in await run(*curl, url, fails=True)


async def test_curl(doors: Doors) -> None:
    """Curl with the CA gets an answer over HTTPS that went over gRPC in TLS; without it, none."""
    address = f"{HOSTNAME}:{doors.http}"
    curl = (
        *(installed("curl"), "--silent", "--show-error", "--max-time", "20"),
        *("--resolve", f"{address}:127.0.0.1", f"https://{address}/api/llms"),
    )
    said = await run(*curl, "--cacert", str(doors.pair.authorities))
    assert [model["id"] for model in json.loads(said)] == [MODEL_ID]
    assert "certificate" in await run(*curl, fails=True)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(("name", "protocol"), [("grpc", "h2"), ("http", "http/1.1")])
async def test_new_versions(doors: Doors, name: str, protocol: str, version: str) -> None:
    """TLS 1.2 and 1.3 are spoken on both doors, each with its own protocol in ALPN."""
    trust = ("-CAfile", str(doors.pair.authorities), "-verify_return_error")
    offer = ("-alpn", "h2,http/1.1", "-servername", HOSTNAME, "-verify_hostname", HOSTNAME)
    said = await run(*handshake(door(doors, name), version, *trust, *offer))
    assert f"ALPN protocol: {protocol}\n" in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
@pytest.mark.parametrize("name", ["grpc", "http"])
async def test_old_versions_end_at_once(doors: Doors, name: str, version: str) -> None:
    """TLS 1.0 and 1.1 are refused, also for a client that would take any cipher."""
    weak = ("-cipher", "ALL:@SECLEVEL=0")
    said = await run(*handshake(door(doors, name), version, *weak), fails=True)
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize("name", ["grpc", "http"])
async def test_plain_http_ends_at_once(doors: Doors, name: str) -> None:
    """Plain HTTP on the port of TLS is hung up on, and those beside it are served on."""
    async with asyncio.timeout(HANG_S), running(doors, 1) as streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", door(doors, name))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            said = await reader.read()
        except ConnectionResetError:
            said = b""
        writer.close()
        assert b"200" not in said
        doors.engine.allow(2 * (NUM_TOKENS - 1))
        assert await asyncio.gather(*streams) == [TEXT] * 2


async def test_readiness_in_tls(doors: Doors) -> None:
    """The probes of a kubelet, which verify nothing, and the command with the CA are answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://127.0.0.1:{doors.http}/health/ready", ssl=False) as response,
    ):
        assert response.status == 200
    probe = (
        *(sys.executable, "-m", "tokenwire", "healthcheck", "-addr", f"127.0.0.1:{doors.grpc}"),
        *("-service", "readiness", "-tls", "-tls-server-name", HOSTNAME, *PATIENT_PROBE),
    )
    said = await run(*probe, "-tls-ca-cert", str(doors.pair.authorities))
    assert said == "status: SERVING\n"


async def test_commands_in_tls(doors: Doors) -> None:
    """`models` and `chat` take a CA; without it they are refused."""
    command = (sys.executable, "-m", "tokenwire")
    server = ("--target", f"127.0.0.1:{doors.grpc}", "--tls", "--tls-server-name", HOSTNAME)
    trust = ("--tls-ca-cert", str(doors.pair.authorities))
    assert MODEL_ID in await run(*command, "models", *server, *trust)
    assert "UNAVAILABLE" in await run(*command, "models", *server, fails=True)
    doors.engine.allow(NUM_TOKENS)
    chat = (*command, "chat", "hello", "--max-tokens", str(NUM_TOKENS), *server)
    assert (await run(*chat, *trust)).startswith(TEXT)
    needs = await run(*command, "models", *server[:2], *trust, fails=True)
    assert "--tls-ca-cert: needs --tls" in needs
    broken = ("--tls-ca-cert", str(doors.pair.key))
    said = await run(*command, "models", *server, *broken, fails=True)
    assert f"--tls-ca-cert: {doors.pair.key} holds no certificate in PEM form" in said


async def test_the_end_of_the_certificate_is_told(doors: Doors) -> None:
    """Each door tells when its certificate ends."""
    series = "llm_tls_cert_expiry_timestamp_seconds{door="
    assert any(line.startswith(f'{series}"grpc"}}') for line in await scrape(doors.client))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://127.0.0.1:{doors.http}/metrics", ssl=False) as response,
    ):
        text = await response.text()
    assert f'{series}"http"}}' in text
    assert f'{series}"front"}}' not in text  # the edge shows none


async def test_client_certificates(mutual: Doors, tmp_path: Path) -> None:
    """Where certificates are demanded, one of the CA is let in; none, and another CA's, are not."""
    port = mutual.grpc
    own = mutual.pair.issue("client")
    shown = {"certificate": chain_of(own), "key": own.private_key_pem.bytes()}
    await list_models(port, mutual.tls(**shown))
    assert await is_refused(port, mutual.tls())
    other = PairFiles(tmp_path / "other")
    foreign = {"certificate": other.certificate.read_bytes(), "key": other.key.read_bytes()}
    assert await is_refused(port, mutual.tls(**foreign))
    expired = mutual.pair.issue("client", days=-1)
    shown = {"certificate": chain_of(expired), "key": expired.private_key_pem.bytes()}
    assert await is_refused(port, mutual.tls(**shown))


async def test_replaced_authorities_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the file holds other authorities, their clients are let in, and the old ones not."""
    monkeypatch.setattr(watched_credentials, "_LOOK_AGAIN_S", 0.05)
    pair = PairFiles(tmp_path / "pair")
    olds, news = (PairFiles(tmp_path / name) for name in ("olds", "news"))
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(olds.authorities.read_bytes())
    variables = {**pair.variables(), "TLS_CLIENT_CA_PATH": str(trusted)}

    def shown(client: PairFiles) -> ChannelTls:
        texts = (client.certificate.read_bytes(), client.key.read_bytes())
        return ChannelTls(pair.authorities.read_bytes(), *texts, HOSTNAME)

    launcher = ScriptedLauncher(ScriptedEngine())
    async with start_front(launcher.prepare, **variables) as client:
        port = client.app.port
        await list_models(port, shown(olds))
        assert await is_refused(port, shown(news))
        trusted.write_bytes(news.authorities.read_bytes())
        async with asyncio.timeout(HANG_S):
            while await is_refused(port, shown(news)):
                pass
        assert await is_refused(port, shown(olds))


async def test_why_a_client_was_refused_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The reason comes on standard error, which the log takes up as `native_output`."""
    pair, other = PairFiles(tmp_path / "pair"), PairFiles(tmp_path / "other")
    variables = {**pair.variables(), "TLS_CLIENT_CA_PATH": str(pair.authorities)}
    foreign = (other.certificate.read_bytes(), other.key.read_bytes())
    said = ""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare, **variables) as client:
        for shown, why in (
            ((None, None), "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
            (foreign, "CERTIFICATE_VERIFY_FAILED"),
        ):
            ends = ChannelTls(pair.authorities.read_bytes(), *shown, HOSTNAME)
            assert await is_refused(client.app.port, ends)
            async with asyncio.timeout(HANG_S):
                while why not in said:
                    said += capfd.readouterr().err
                    await asyncio.sleep(0)  # a thread of gRPC's own writes it


async def test_client_certificates_of_commands(mutual: Doors, tmp_path: Path) -> None:
    """`models` and `healthcheck` show one, too; and `buf curl`."""
    own = PairFiles(tmp_path / "own", mutual.pair.authority)
    command = (sys.executable, "-m", "tokenwire")
    trust = ("--tls-ca-cert", str(mutual.pair.authorities), "--tls-server-name", HOSTNAME)
    pair = ("--tls-client-cert", str(own.certificate), "--tls-client-key", str(own.key))
    models = (*command, "models", "--target", f"127.0.0.1:{mutual.grpc}", "--tls", *trust)
    assert MODEL_ID in await run(*models, *pair)
    await run(*models, fails=True)
    probe = (*command, "healthcheck", "-addr", f"127.0.0.1:{mutual.grpc}", "-tls", *trust)
    assert await run(*probe, *pair, *PATIENT_PROBE) == "status: SERVING\n"
    await run(*probe, fails=True)
    buf = (
        *(installed("buf"), "curl", "--protocol", "grpc", "--servername", HOSTNAME),
        *("--cacert", str(mutual.pair.authorities)),
    )
    url = f"https://127.0.0.1:{mutual.grpc}/tokenwire.v1.InferenceService/ListModels"
    shown = ("--cert", str(own.certificate), "--key", str(own.key))
    assert MODEL_ID in await run(*buf, *shown, url)
    await run(*buf, url, fails=True)


async def test_the_edge_shows_its_certificate(mutual: Doors) -> None:
    """The edge reaches a front that demands one, and tells when its own ends."""
    async with aiohttp.ClientSession(f"https://127.0.0.1:{mutual.http}") as session:
        async with session.get("/api/llms", ssl=False) as response:
            assert [model["id"] for model in await response.json()] == [MODEL_ID]
        async with session.get("/metrics", ssl=False) as response:
            text = await response.text()
    assert 'llm_tls_cert_expiry_timestamp_seconds{door="front"}' in text


@asynccontextmanager
async def running(doors: Doors, num_streams: int) -> AsyncIterator[list[asyncio.Task[str]]]:
    """Streams of each door that have got their first token, each over a connection of its own."""
    tls = doors.tls()
    request = doors.client.prompt("hello")
    request.sampling.max_tokens = NUM_TOKENS
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": MODEL_ID, "messages": messages, "max_tokens": NUM_TOKENS}
    begun = [asyncio.Event() for _ in range(2 * num_streams)]

    async def over_grpc(has_begun: asyncio.Event) -> str:
        options = [("grpc.use_local_subchannel_pool", 1), *tls.options]
        target = f"127.0.0.1:{doors.grpc}"
        async with grpc.aio.secure_channel(target, tls.credentials, options) as channel:
            stream = inference_pb2_grpc.InferenceServiceStub(channel).Generate(request)
            await stream.wait_for_connection()
            while (await stream.read()).WhichOneof("event") != "started":
                pass
            has_begun.set()
            return (await collect(stream)).text

    async def over_http(has_begun: asyncio.Event) -> str:
        url = f"https://127.0.0.1:{doors.http}/api/chat/stream"
        text = ""
        async with session.post(url, json=body, server_hostname=HOSTNAME) as response:
            assert response.status == 200
            has_begun.set()
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    assert "error" not in event
                    text += event.get("content", "")
        return text

    connector = aiohttp.TCPConnector(limit=0, ssl=doors.https())
    async with AsyncExitStack() as closing:
        session = await closing.enter_async_context(aiohttp.ClientSession(connector=connector))
        tasks = await closing.enter_async_context(asyncio.TaskGroup())
        streams = [tasks.create_task(over_grpc(event)) for event in begun[:num_streams]]
        streams += [tasks.create_task(over_http(event)) for event in begun[num_streams:]]
        await doors.engine.wait_until(running=2 * num_streams)
        doors.engine.allow(2 * num_streams)
        await asyncio.gather(*(event.wait() for event in begun))
        yield streams


async def shown_by(port: int) -> bytes:
    """The certificate that a new connection is shown, as DER; both doors show one to anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    del reader
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return shown


async def until_shown(doors: Doors, der: bytes) -> None:
    """Makes connections to both doors until they are shown a certificate."""
    async with asyncio.timeout(HANG_S):
        for port in (doors.grpc, doors.http):
            while await shown_by(port) != der:
                pass


async def test_certificates_are_swapped_under_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 streams of each door outlive two swaps and a broken pair; new handshakes see the new."""
    monkeypatch.setattr(watched_credentials, "_LOOK_AGAIN_S", 0.1)
    pair = PairFiles(tmp_path / "pair")
    async with open_doors(pair) as doors, running(doors, NUM_STREAMS) as streams:
        der = pair.replace()
        await until_shown(doors, der)
        pair.key.write_bytes(pair.issue().private_key_pem.bytes())
        none_yet = 'llm_tls_reload_failures_total{door="grpc"} 0.0'
        async with asyncio.timeout(HANG_S):
            while none_yet in await scrape(doors.client):
                pass
        assert await shown_by(doors.grpc) == der
        assert await shown_by(doors.http) == der
        await until_shown(doors, pair.replace())
        doors.engine.allow(2 * NUM_STREAMS * (NUM_TOKENS - 1))
        async with asyncio.timeout(HANG_S):
            assert await asyncio.gather(*streams) == [TEXT] * (2 * NUM_STREAMS)


async def test_the_edge_takes_up_what_it_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A front with a certificate of another authority is reached once the edge has its file."""
    monkeypatch.setattr(watched_credentials, "_LOOK_AGAIN_S", 0.05)
    pair = PairFiles(tmp_path / "pair")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(PairFiles(tmp_path / "other").authorities.read_bytes())
    variables = {"LLM_GRPC_TARGET_CA_PATH": str(trusted)}
    async with open_doors(pair, **variables) as doors, aiohttp.ClientSession() as session:
        ready = f"https://127.0.0.1:{doors.http}/health/ready"
        async with session.get(ready, ssl=False) as response:
            assert response.status == 503
        trusted.write_bytes(pair.authorities.read_bytes())
        async with asyncio.timeout(HANG_S):
            status = 503
            while status == 503:
                async with session.get(ready, ssl=False) as response:
                    status = response.status
        assert status == 200


async def test_a_socket_without_tls(tmp_path: Path) -> None:
    """Processes of the same user need no TLS on a socket, and no certificate."""
    socket = tmp_path / "private" / "grpc.sock"
    pair = PairFiles(tmp_path / "pair")
    variables = {"LLM_GRPC_SOCKET": str(socket), "TLS_CLIENT_CA_PATH": str(pair.authorities)}
    launcher = ScriptedLauncher(ScriptedEngine())
    async with start_front(launcher.prepare, **variables, **pair.variables()):
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket.stat().st_mode & 0o777 == 0o600
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            request = health_pb2.HealthCheckRequest(service="readiness")
            answer = await health_pb2_grpc.HealthStub(channel).Check(request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert not socket.exists()


async def wait_ready(port: int) -> None:
    """Asks an edge, as a kubelet does, until it is ready."""
    async with asyncio.timeout(HANG_S), aiohttp.ClientSession() as session:
        is_ready = False
        while not is_ready:
            try:
                url = f"https://127.0.0.1:{port}/health/ready"
                async with session.get(url, ssl=False) as response:
                    is_ready = response.status == 200
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)  # nobody listens yet, and none of the clients tells


async def test_serve_wires_its_ends(tmp_path: Path) -> None:
    """`serve` is ready, whatever the certificate's name and end, and with client certificates.

    It takes up another one; nothing that it made is left when it has ended. Takes seconds: three
    processes start.
    """
    pair = PairFiles(tmp_path / "pair")
    pair.replace(days=-1)  # expired, which is a warning
    grpc_port, port, temporary = free_port(), free_port(), tmp_path / "temporary"
    temporary.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "serve"),
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={
            **os.environ,
            **pair.variables(),
            "TLS_CLIENT_CA_PATH": str(pair.authorities),
            "LLM_ALLOWED_MODELS": SMALL_MODEL_ID,
            "LLM_LAZY_LOAD": "true",
            "LLM_ENGINE": "llamacpp",
            "LLM_GRPC_PORT": str(grpc_port),
            "LLM_INFERENCE_PORT": str(port),
            "LLM_METRICS_PORT": str(free_port()),
            "TMPDIR": str(temporary),
        },
    )
    assert process.stderr is not None
    try:
        await wait_ready(port)
        (folder,) = temporary.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        der = pair.replace(days=1)
        async with asyncio.timeout(HANG_S):
            for each in (grpc_port, port):
                while await shown_by(each) != der:
                    pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(HANG_S):
            said = (await process.stderr.read()).decode()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert said.count('"event":"tls_certificate_expired"') == 2  # on each door
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("command", ["serve", "server", "edge"])
async def test_broken_files_end_the_start(tmp_path: Path, command: str) -> None:
    """A pair that does not match ends the start with status 2 and one sentence; nothing listens."""
    pair = PairFiles(tmp_path / "pair")
    pair.key.write_bytes(pair.issue().private_key_pem.bytes())
    taken = {"LLM_GRPC_PORT": "0", "LLM_INFERENCE_PORT": "0", "LLM_METRICS_PORT": "0"}
    variables = {**pair.variables(), **taken, "LLM_ALLOWED_MODELS": SMALL_MODEL_ID}
    status, _, said = await tokenwire(tmp_path, command, **variables)
    assert status == 2
    assert "listening" not in said
    assert said.endswith(
        "The configuration has 1 mistake:\n"
        f"  TLS_SERVER_KEY_PATH: {pair.key} does not belong to the first certificate in "
        f"{pair.certificate} (TLS_SERVER_CERT_PATH)\n"
    )


@pytest.mark.parametrize("command", ["serve", "server", "edge"])
@pytest.mark.parametrize("fault", ["half", "no_authority"])
async def test_broken_files_of_the_collector_end_the_start(
    tmp_path: Path, command: str, fault: str
) -> None:
    """So do those of traces, half a pair among them, at which gRPC would abort the process."""
    pair = PairFiles(tmp_path / "pair")
    if fault == "half":
        given = {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(pair.certificate)}
        problem = (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: needs OTEL_EXPORTER_OTLP_CLIENT_KEY beside it"
        )
    else:
        given = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(pair.key)}
        problem = f"OTEL_EXPORTER_OTLP_CERTIFICATE: {pair.key} holds no certificate in PEM form"
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:4317",
        "LLM_ALLOWED_MODELS": SMALL_MODEL_ID,
        **{f"LLM_{port}_PORT": "0" for port in ("GRPC", "INFERENCE", "METRICS")},
        **given,
    }
    status, _, said = await tokenwire(tmp_path, command, **variables)
    assert status == 2
    assert "listening" not in said
    assert said.endswith(f"The configuration has 1 mistake:\n  {problem}\n")
