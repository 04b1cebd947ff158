"""The front as a whole: what is made, in which order it starts, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, cast

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc

from ..environment import ConfigurationError
from ..generated.tokenwire.v1 import (
    access_pb2_grpc,
    inference_pb2_grpc,
    tokenizer_pb2_grpc,
)
from ..generated.xds.service.orca.v3 import orca_pb2_grpc
from ..lifecycle import Shutdown, end_tasks, shutdown_signals, wait_first
from ..listening import warn_of_plaintext_keys
from ..metrics.process import none_dropped
from ..metrics.tls import TlsMetrics
from ..open_files import files_for
from ..tls.watched_credentials import WatchedCredentials
from ..tracing.making import make_tracer
from .access.access import Access
from .access.access_service import AccessService
from .access.call_names import METRICS
from .access.key_ring import read_keys
from .constraints.checker import ConstraintChecker
from .machine.c_allocator import limit_arenas
from .machine.gpu_monitor import GpuMonitor
from .media.images import make_images
from .models.gpu_pressure import GpuPressure
from .models.model_state import Prepare
from .models.models import Models
from .preparation.preparation import Preparation
from .request.inference import Inference
from .request.kept_requests import KeptRequests
from .request.running_request import RunningRequests
from .request.tokenizing import Tokenizing
from .rpc import services
from .rpc.health import Health
from .rpc.interceptors import CallInterceptor
from .rpc.load_reports import LoadReports
from .rpc.ports import open_port, open_socket, server_options
from .rpc.reflection import add_reflection
from .rpc.service import InferenceService
from .rpc.steady_server import make_server
from .rpc.tokenizer.service import TokenizerService
from .settings.server_config import ServerConfig
from .telemetry.metrics.front_metrics import DrainStage, FrontMetrics
from .telemetry.metrics.kept_metrics import register_kept
from .telemetry.metrics.key_metrics import KeyMetrics
from .telemetry.metrics.metrics_server import MetricsServer
from .telemetry.request_line import log_request
from .telemetry.spans import RequestSpans

_logger = structlog.get_logger(__name__)

# What calls have left to write their last event, once the drain has ended them.
_LAST_EVENT_S = 5.0
# What calls have left that came while the others ended: each is answered that the server drains.
# Without it gRPC cuts them off, and their callers cannot know what became of them.
_LAST_CALLS_S = 1.0


class ServerApp:
    """The gRPC server with its models. Use it as an asynchronous context manager.

    It listens as soon as it is entered, and loads its models behind that.
    """

    def __init__(
        self,
        config: ServerConfig,
        prepare: Prepare | None = None,
        metrics_socket: socket.socket | None = None,
        num_lines_dropped: Callable[[], int] = none_dropped,
    ) -> None:
        self._config = config
        self._closing = AsyncExitStack()
        self.models = Models(
            [str(model) for model in config.allowed_models],
            prepare or Preparation(config).prepare,
            max_in_flight=config.max_concurrent_requests,
            max_queued=config.max_queued_requests,
            lazy={str(model) for model in config.allowed_models if config.is_lazy(model)},
            idle_unload_s=config.idle_unload_s,
            stall_s=config.stall_timeout_s,
            hang_s=config.hang_timeout_s,
            adapters=config.lora_adapters,
        )
        self._gpus = GpuMonitor()
        self._metrics = FrontMetrics(
            self.models,
            services.method_labels(),
            gpus=lambda: self._gpus.readings,
            num_spans_dropped=lambda: self.tracer.num_dropped if self.tracer else 0,
            num_lines_dropped=num_lines_dropped,
        )
        keys = KeyMetrics(self._metrics.registry if config.api_keys_file else None)
        ring = read_keys(config, keys.reload_failed)
        self._access = Access(ring, config.api_keys_open, keys.refused)
        keys.add(self._access.key_names)
        self._metrics_server = MetricsServer(
            self._metrics.registry,
            config.metrics_hostname,
            config.metrics_port,
            metrics_socket,
            check=partial(self._access.check, METRICS),
        )
        self._gpu_pressure = GpuPressure(self.models, config.gpu_pressure_threshold)
        self._health = Health(self.models, services.INFERENCE.full_name)
        self.tracer = make_tracer(config, config.service_name, "front")
        spans = () if self.tracer is None else (RequestSpans(self.tracer).record,)
        self._constraints = ConstraintChecker()
        images = make_images(config)
        self._requests = RunningRequests(
            Inference.of(config, self.models, self._constraints, images),
            log_request,
            self._metrics.requests.record,
            keys.record,
            self._access.record,
            *spans,
        )
        self._load_reports = self._make_load_reports() if config.load_reports else None
        self._kept = KeptRequests(config.resume_bytes, config.max_resume_bytes, config.max_detach_s)
        register_kept(self._metrics.readings, self._kept)
        self._service = InferenceService(
            self._requests,
            self.models,
            self._kept,
            self._access,
            max_output_tokens=config.max_tokens_limit,
            image_limits=images.limits,
        )
        self._tokenizer = TokenizerService(
            self._requests,
            Tokenizing.of(config, self.models, self._constraints, images),
            self._access,
        )
        self._server: grpc.aio.Server | None = None
        self.port = config.grpc_port

    @property
    def metrics_port(self) -> int:
        """The port of the metrics, also where any free one was asked for."""
        return self._metrics_server.port

    async def __aenter__(self) -> ServerApp:
        """Listens, and begins to load the models.

        Raises:
            ConfigurationError: an address cannot be listened on, or a file of TLS not be used.
        """
        config = self._config
        # Before anything listens.
        tls = WatchedCredentials(config.pem_files, "grpc") if config.pem_files else None
        try:
            self._closing.enter_context(self._metrics_server)
        except OSError as error:
            raise ConfigurationError(
                [
                    "LLM_METRICS_PORT: cannot listen on "
                    f"{config.metrics_hostname}:{config.metrics_port}: {error.strerror}"
                ]
            ) from error
        try:
            if self.tracer is not None:
                await self._closing.enter_async_context(self.tracer)
            # Made inside the loop that it serves on.
            self._server = self._make_server()
            await self._listen(self._server, tls)
            await self._server.start()
        except BaseException:
            await self._closing.aclose()
            raise
        self._closing.push_async_callback(self._constraints.close)
        self._closing.push_async_callback(self._server.stop, _LAST_CALLS_S)
        self._metrics.engines.attach()
        self._closing.callback(self._metrics.engines.detach)
        loading = asyncio.create_task(self.models.run(), name="models")
        self._closing.push_async_callback(end_tasks, loading)
        self._closing.push_async_callback(self._requests.close)
        self._closing.callback(self._kept.close)
        self._closing.enter_context(self._watch_gpus())
        await self._closing.enter_async_context(self._access.watching())
        if self._access.key_names and tls is None:
            warn_of_plaintext_keys(config.grpc_hostname)
        _logger.info(
            "listening",
            grpc_port=self.port,
            has_tls=tls is not None,
            metrics_port=self.metrics_port,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the engines, then the listeners."""
        await self._closing.aclose()

    async def wait_ended(self) -> None:
        """Returns, or raises why, once gRPC has ended: nobody can call any more."""
        assert self._server is not None  # entered
        # Shielded: to cancel it would cancel what gRPC's own shutdown waits for.
        await asyncio.shield(self._server.wait_for_termination())

    async def drain(self, shutdown: Shutdown | None = None) -> None:
        """Takes nothing new and waits for the calls in flight, up to the drain timeout.

        `shutdown.forced` cuts the waits short.
        """
        config = self._config
        _logger.info("draining", timeout_s=config.drain_timeout_s)
        self._metrics.drain_stage = DrainStage.LEAVING
        self._health.drain()
        forced = shutdown.forced if shutdown else asyncio.Event()
        await wait_first(forced.wait(), timeout_s=config.drain_delay_s)
        self._metrics.drain_stage = DrainStage.REFUSING
        self._requests.refuse_new()
        await wait_first(
            forced.wait(), self._requests.wait_idle(), timeout_s=config.drain_timeout_s
        )
        self._requests.end_all()
        await wait_first(self._requests.wait_idle(), timeout_s=_LAST_EVENT_S)

    def _make_load_reports(self) -> LoadReports:
        return LoadReports(self.models, lambda: self._gpu_pressure.used_share)

    def _watch_gpus(self) -> GpuMonitor:
        loop = asyncio.get_running_loop()
        update = self._gpu_pressure.update
        self._gpus.observe(lambda readings: loop.call_soon_threadsafe(update, readings))
        return self._gpus

    def _make_server(self) -> grpc.aio.Server:
        server = make_server(
            interceptors=[
                CallInterceptor(self._metrics.grpc, self._access, self.tracer, self._load_reports)
            ],
            options=server_options(
                self._config.max_message_bytes, files_for(self._config.grpc_max_connections)
            ),
        )
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self._service, server)
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self._tokenizer, server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(AccessService(self._access), server)
        cast("Any", health_pb2_grpc).add_HealthServicer_to_server(self._health, server)  # untyped
        offered = [services.INFERENCE, services.TOKENIZER, services.ACCESS, services.HEALTH]
        if self._load_reports is not None:
            orca_pb2_grpc.add_OpenRcaServiceServicer_to_server(self._load_reports, server)
            offered.append(services.LOAD_REPORTS)
        if self._config.grpc_reflection:
            add_reflection(server, [service.full_name for service in offered])
        return server

    async def _listen(self, server: grpc.aio.Server, tls: WatchedCredentials | None) -> None:
        config = self._config
        credentials = None
        if tls is not None:
            self._metrics.registry.register(TlsMetrics(tls))
            await self._closing.enter_async_context(tls.watching())
            credentials = tls.grpc_credentials()
        self.port = open_port(server, config.grpc_listener, credentials)
        if config.grpc_socket is not None:
            open_socket(server, config.grpc_socket)
            self._closing.callback(config.grpc_socket.unlink, missing_ok=True)


async def serve(
    config: ServerConfig,
    metrics_socket: socket.socket | None = None,
    num_lines_dropped: Callable[[], int] = none_dropped,
) -> int:
    """Runs the front until a signal ends it; returns the exit status of the process.

    `metrics_socket` listens for scrapes, where whoever started this process opened it.
    `num_lines_dropped` counts the lines that the log lost.
    """
    limit_arenas()
    with shutdown_signals() as shutdown:
        async with ServerApp(config, None, metrics_socket, num_lines_dropped) as app:
            ended = asyncio.ensure_future(app.wait_ended())
            await wait_first(shutdown.draining.wait(), ended)
            if not ended.cancelled():
                ended.result()  # why, where gRPC says so
                raise RuntimeError("gRPC ended by itself")
            await app.drain(shutdown)
    _logger.info("stopped")
    return 0
