"""The HTTP server: order of start and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
import structlog
from aiohttp import web

from ..environment import ConfigurationError
from ..generated.tokenwire.v1.access_pb2 import RESOURCE_METRICS, RESOURCE_SWAGGER
from ..lifecycle import shutdown_signals, wait_first
from ..metrics.process import none_dropped
from ..metrics.readings import new_registry
from ..open_files import files_for
from ..tracing.making import make_tracer
from .api.routes import API
from .body import BodyReader, answer_expectation
from .canonical.routes import CANONICAL
from .client import FrontClient
from .config import EdgeConfig
from .connections.connection import Connection
from .connections.limits import Limits, OpenConnections
from .cors import Cors
from .dialect import Dialect
from .guard import Doorkeeper, Guard, PlaintextKeys
from .health import HealthRoutes
from .http_settings import HeartbeatForm
from .metrics.edge_metrics import register_edge
from .metrics.front_metrics import FrontMetrics
from .metrics.http_metrics import HttpMetrics
from .metrics.routes import MetricsRoutes
from .middleware import InFlight, Middleware
from .openai.routes import OPENAI
from .pages.routes import PageRoutes
from .playground.routes import PlaygroundRoutes
from .sse import PACE, StreamPace
from .tls_ends import TlsEnds

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

_logger = structlog.get_logger(__name__)

DIALECTS: tuple[Dialect, ...] = (API, CANONICAL, OPENAI)
_BACKLOG = 1024
_HANDSHAKE_TIMEOUT_S = 10.0
# After a drain nothing should run any more; what does is cancelled this much later.
_CLEANUP_TIMEOUT_S = 2.0


class EdgeApp:
    """The edge, from the open port to the end of its drain.

    Entering opens the port; leaving drains: not ready and nothing new, running requests up to the
    drain timeout or until `forced` is set, then the port and the channel.
    """

    def __init__(
        self,
        config: EdgeConfig,
        *,
        dialects: tuple[Dialect, ...] = DIALECTS,
        forced: asyncio.Event | None = None,
        num_lines_dropped: Callable[[], int] = none_dropped,
    ) -> None:
        self._config = config
        self._num_lines_dropped = num_lines_dropped
        self._dialects = dialects
        self._connections = OpenConnections(
            files_for(config.http_max_connections), config.http_max_connections_per_peer
        )
        self._in_flight = InFlight()
        self._forced = forced or asyncio.Event()
        self.tracer: Tracer | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        """Opens the port and the channel; the front need not be there yet.

        Raises:
            ConfigurationError: the address cannot be listened on, or a file of TLS not be used.
        """
        async with AsyncExitStack() as opening:
            tracer = make_tracer(self._config, self._config.service_name, "edge")
            if tracer is not None:
                await opening.enter_async_context(tracer)
            self.tracer = tracer
            tls = TlsEnds.load(self._config)  # before anything listens
            self._front = FrontClient(self._config.grpc_target, tls.channel(), tracer)
            opening.push_async_callback(self._front.close)
            if tls.front is not None:
                tls.front.on_change = lambda _: self._front.renew(tls.channel())
            for end in tls.watched:
                await opening.enter_async_context(end.watching())
            self._session = await opening.enter_async_context(aiohttp.ClientSession())
            app, middleware = self._application(tls, opening)
            self._runner = web.AppRunner(
                app, handler_cancellation=True, shutdown_timeout=_CLEANUP_TIMEOUT_S
            )
            await self._runner.setup()
            opening.push_async_callback(self._runner.cleanup)
            self._server = await self._listen(middleware, tls)
            opening.callback(self._server.close)
            # In the reverse order: the port, the connections, the session, the channel, the spans.
            self._closing = opening.pop_all()
        self.port = self._server.sockets[0].getsockname()[1]
        _logger.info(
            "listening",
            http_port=self.port,
            has_tls=self._config.server_ssl_enabled,
            front=self._config.grpc_target,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drains and closes."""
        try:
            await self._drain()
        finally:
            await self._closing.aclose()

    def _application(
        self, tls: TlsEnds, opening: AsyncExitStack
    ) -> tuple[web.Application, Middleware]:
        config = self._config
        app = web.Application(client_max_size=config.max_body_bytes)
        app[PACE] = StreamPace(
            config.sse_headers_s,
            config.sse_heartbeat_s,
            is_comment=config.sse_heartbeat_form is HeartbeatForm.COMMENT,
        )
        registry = new_registry()
        tls.register(registry)
        metrics = HttpMetrics(registry)
        cors = Cors(config.cors_allowed_origins)
        middleware = Middleware(
            self._dialects,
            cors,
            metrics,
            self._in_flight,
            front=self._front,
            plaintext_keys=PlaintextKeys(config.hostname),
            tracer=self.tracer,
        )
        middleware.install(app)
        bodies = BodyReader(config.body_timeout_s, Doorkeeper(self._front).admit)
        opening.callback(bodies.close)
        front_metrics = FrontMetrics(self._session, config.metrics_target)
        register_edge(
            registry,
            front_metrics,
            lambda: self._connections.num_open,
            lambda: self._connections.num_cut,
            num_spans_dropped=lambda: self.tracer.num_dropped if self.tracer else 0,
            num_lines_dropped=self._num_lines_dropped,
        )
        guard = Guard(self._front)
        routes = [
            *HealthRoutes(self._front, self._in_flight).routes(),
            *guard.guarded(MetricsRoutes(registry, front_metrics).routes(), RESOURCE_METRICS),
            *guard.guarded(PageRoutes().routes(), RESOURCE_SWAGGER),
            *guard.guarded(PlaygroundRoutes(config).routes(), RESOURCE_SWAGGER),
        ]
        for dialect in self._dialects:
            routes += dialect.routes(self._front, bodies)
        for route in routes:
            route.kwargs["expect_handler"] = answer_expectation
        app.add_routes(routes)
        metrics.expect(app.router.routes())
        return app, middleware

    async def _listen(self, middleware: Middleware, tls: TlsEnds) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None  # the runner is set up
        server.request_handler = middleware.wrap(server.request_handler)

        config = self._config
        limits = Limits(
            config.http_head_timeout_s,
            config.http_idle_timeout_s,
            config.http_write_timeout_s,
            config.http_max_header_bytes,
        )

        def connection() -> Connection:
            return Connection(server, middleware, limits, self._connections, loop=loop)

        host, port = config.hostname, config.port
        secured = tls.https is not None
        try:
            return await loop.create_server(
                connection,
                host,
                port,
                backlog=_BACKLOG,
                ssl=tls.https.https_context() if tls.https else None,
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S if secured else None,
                ssl_shutdown_timeout=_CLEANUP_TIMEOUT_S if secured else None,
            )
        except OSError as error:
            problem = f"LLM_INFERENCE_PORT: cannot listen on {host}:{port}: {error.strerror}"
            raise ConfigurationError([problem]) from error

    async def _drain(self) -> None:
        self._in_flight.is_draining = True
        idle = asyncio.ensure_future(self._in_flight.wait_idle())
        await wait_first(idle, self._forced.wait(), timeout_s=self._config.drain_timeout_s)
        if idle.cancelled():
            _logger.warning("drain_cut_short")
            self._front.end_calls()
            await wait_first(self._in_flight.wait_idle(), timeout_s=_CLEANUP_TIMEOUT_S)


async def serve(config: EdgeConfig, num_lines_dropped: Callable[[], int] = none_dropped) -> int:
    """Runs the edge until a signal ends it, then drains; returns the exit status of the process.

    A second signal forces the end. `num_lines_dropped` counts the lines that the log lost.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    with shutdown_signals() as shutdown:
        async with EdgeApp(config, forced=shutdown.forced, num_lines_dropped=num_lines_dropped):
            await shutdown.draining.wait()
    _logger.info("stopped")
    return 0
