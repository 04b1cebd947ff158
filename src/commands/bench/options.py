"""The options of `tokenwire bench`, and what they mean together."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...edge.config import EdgeConfig
from ...environment import ConfigurationError, load
from ...load.faces.face import Face, LoadRequest, Sending, Task
from ...load.faces.grpc_face import open_grpc_face
from ...load.faces.openai_face import open_openai_face
from ...load.faces.rest_face import open_rest_face
from ...load.pace import Arrivals, Closed, Extent, Load, Open
from ...load.report.result import LoadForm, Result, ResultMistake, WorkloadForm, read_result
from ...load.workload.conversations import DatasetMistake, read_samples
from ...load.workload.lengths import Lengths, LengthsMistake, parse_lengths
from ...load.workload.words import WordFit
from ...load.workload.workload import SharedPrefixes, draw_requests, draw_samples
from ..server_choice import ServerChoice

_DEFAULT_DURATION_S = 30.0
_DEFAULT_OUTPUT_TOKENS = "128"


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What stands on the command line. None: not given."""

    choice: ServerChoice
    face: Literal["grpc", "rest", "openai"] | None
    model: str | None
    concurrency: int | None
    rate: float | None
    arrivals: str
    num_requests: int | None
    duration_s: float | None
    num_warmup: int | None
    timeout_s: float
    input_tokens: str
    output_tokens: str | None
    shared_prefix: int
    num_prefixes: int
    dataset: Path | None
    max_prompt_tokens: int
    task: Literal["chat", "completion"]
    ignores_eos: bool
    temperature: float | None
    seed: int
    target_ttft_ms: float | None
    target_itl_ms: float | None
    out: Path | None
    appends: bool
    html: Path | None
    as_json: bool
    label: str

    def find_mistakes(self) -> list[str]:
        """Returns one line for every option that makes no sense beside the others."""
        found: list[str] = []
        if self.concurrency is not None and self.rate is not None:
            found.append("--concurrency and --rate: a load is closed or open, give one of them")
        if self.appends and self.out is None:
            found.append("--append: needs --out")
        for name, path in (("--out", self.out), ("--html", self.html)):
            if path is not None and not path.absolute().parent.is_dir():
                found.append(f"{name}: the folder {path.absolute().parent} does not exist")
        for name, text in (
            ("--input-tokens", self.input_tokens),
            ("--output-tokens", self.output_tokens),
        ):
            try:
                parse_lengths(text or _DEFAULT_OUTPUT_TOKENS)
            except LengthsMistake as mistake:
                found.append(f"{name}: {mistake}")
        return found

    @property
    def load(self) -> Load:
        """Closed or open."""
        if self.rate is None:
            return Closed(self.concurrency or 1)
        return Open(self.rate, Arrivals(self.arrivals), self.seed)

    @property
    def warmup(self) -> tuple[Closed, Extent]:
        """How the requests before the measurement are sent."""
        concurrency = self.load.concurrency if isinstance(self.load, Closed) else 1
        num_requests = concurrency if self.num_warmup is None else self.num_warmup
        return Closed(max(1, min(concurrency, num_requests))), Extent(num_requests)

    @property
    def extent(self) -> Extent:
        """How much is sent."""
        is_bounded = self.num_requests is not None or self.duration_s is not None
        return Extent(self.num_requests, self.duration_s if is_bounded else _DEFAULT_DURATION_S)

    @property
    def load_form(self) -> LoadForm:
        """The load as a result tells it."""
        load, extent = self.load, self.extent
        num_warmup = self.warmup[1].num_requests or 0
        bounds = (extent.num_requests, extent.duration_s, num_warmup)
        if isinstance(load, Closed):
            return LoadForm("closed", load.concurrency, None, None, *bounds)
        return LoadForm("open", None, load.rate, load.arrivals.value, *bounds)

    def workload_form(self, fit: WordFit) -> WorkloadForm:
        """The work as a result tells it."""
        is_drawn = self.dataset is None
        default_output = _DEFAULT_OUTPUT_TOKENS if is_drawn else ""
        return WorkloadForm(
            input=self.input_tokens if is_drawn else "",
            output=self.output_tokens or default_output,
            shared_prefix=self.shared_prefix if is_drawn else 0,
            num_prefixes=self.num_prefixes if is_drawn and self.shared_prefix else 0,
            dataset="" if self.dataset is None else self.dataset.name,
            seed=self.seed,
            ignores_eos=self.ignores_eos and self.face_name != "rest",
            temperature=self.temperature,
            is_fitted=fit.is_measured,
        )

    def requests(self, fit: WordFit) -> Iterator[LoadRequest]:
        """Returns the requests, without end.

        Raises:
            ConfigurationError: the dataset cannot be used.
        """
        outputs = self._lengths(self.output_tokens)
        if self.dataset is None:
            drawn = outputs or parse_lengths(_DEFAULT_OUTPUT_TOKENS)
            shared = SharedPrefixes(self.shared_prefix, self.num_prefixes)
            return draw_requests(parse_lengths(self.input_tokens), drawn, shared, fit, self.seed)
        try:
            samples = read_samples(self.dataset)
            return draw_samples(samples, outputs, self.max_prompt_tokens, self.seed)
        except DatasetMistake as mistake:
            raise ConfigurationError([f"--dataset: {mistake}"]) from mistake

    def sending(self, model: str) -> Sending:
        """Returns what all requests have in common."""
        return Sending(model, Task(self.task), self.ignores_eos, self.temperature, self.timeout_s)

    def earlier(self) -> Result | None:
        """Returns the result that the run is added to.

        Raises:
            ConfigurationError: there is a file that is none.
        """
        if not self.appends or self.out is None or not self.out.exists():
            return None
        try:
            return read_result(self.out)
        except ResultMistake as mistake:
            raise ConfigurationError([f"--append: {mistake}"]) from mistake

    @property
    def face_name(self) -> str:
        """The door."""
        is_http = (self.choice.target or "").startswith(("http://", "https://"))
        return self.face or ("openai" if is_http else "grpc")

    def open_face(self) -> AbstractAsyncContextManager[Face]:
        """Returns the door, to be opened.

        Raises:
            ConfigurationError: options or variables hold mistakes.
        """
        key = self.choice.find_key()
        if self.face_name == "grpc":
            target, tls = self.choice.resolve()
            if target.startswith(("http://", "https://")):
                raise ConfigurationError(["--target: gRPC takes host:port, not an http address"])
            return open_grpc_face(target, tls, key)
        url = self.choice.target or _default_url()
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                [f"--target: {self.face_name} takes an http or https address, got {url!r}"]
            )
        open_http_face = open_rest_face if self.face_name == "rest" else open_openai_face
        return open_http_face(url, self._https(url), key)

    def _lengths(self, text: str | None) -> Lengths | None:
        return None if text is None else parse_lengths(text)

    def _https(self, url: str) -> ssl.SSLContext | None:
        choice = self.choice
        if choice.has_tls is not None or choice.server_name:
            raise ConfigurationError(
                ["--tls, --no-tls and --tls-server-name are for gRPC: http or https says it here"]
            )
        files = (choice.authorities, choice.certificate, choice.key)
        if not url.startswith("https://"):
            if any(files):
                raise ConfigurationError(["files of TLS need an https address in --target"])
            return None
        try:
            context = ssl.create_default_context(cafile=choice.authorities)
            if choice.certificate is not None:
                context.load_cert_chain(choice.certificate, choice.key)
        except OSError as error:  # of the file, or what is in it: SSLError is one, too
            raise ConfigurationError([f"files of TLS cannot be used: {error}"]) from error
        return context


def _default_url() -> str:
    config = load(EdgeConfig)
    scheme = "https" if config.server_ssl_enabled else "http"
    return f"{scheme}://localhost:{config.port}"
