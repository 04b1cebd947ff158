"""Numbers of API keys, by their names. Meanings: `docs/observability.md`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from ...contract.errors import AccessRefused, PermissionDenied, QuotaExceeded, Unauthenticated
from ...request.calls import CallAborted, CallFailed, CallFinished, CallOutcome
from ...request.ended_request import EndedRequest

_OUTCOMES = {CallFinished: "finished", CallFailed: "failed", CallAborted: "aborted"}


class KeyMetrics:
    """What each key used, and what was refused to it. Without a registry it is shown nowhere."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._requests = Counter(
            "llm_api_key_requests",
            "Requests of a key that ended.",
            ("key", "outcome"),
            registry=registry,
        )
        self._tokens = Counter(
            "llm_api_key_tokens",
            "Tokens of the requests of a key, as its limit counts them.",
            ("key", "gen_ai_token_type"),
            registry=registry,
        )
        self._refusals = Counter(
            "llm_api_key_refusals",
            "Calls that were refused for want of a key, of rights or of quota.",
            ("key", "reason"),
            registry=registry,
        )
        self._reload_failures = Counter(
            "llm_api_keys_reload_failures",
            "States of the file of keys that could not be taken.",
            registry=registry,
        )
        # Nobody knows whose a wrong key is.
        self._refusals.labels("", Unauthenticated.reason)

    def add(self, names: Iterable[str]) -> None:
        """Shows keys from now on, with zeros."""
        for name in names:
            for outcome in _OUTCOMES.values():
                self._requests.labels(name, outcome)
            for kind in ("input", "output"):
                self._tokens.labels(name, kind)
            for refusal in (Unauthenticated, PermissionDenied, QuotaExceeded):
                self._refusals.labels(name, refusal.reason)

    def record(self, ended: EndedRequest) -> None:
        """Counts a request of a key: an observer of requests."""
        name = ended.call.context.key
        if not name:
            return
        self._requests.labels(name, _outcome_of(ended.outcome)).inc()
        self._tokens.labels(name, "input").inc(ended.num_prompt_tokens or 0)
        self._tokens.labels(name, "output").inc(ended.num_completion_tokens)

    def refused(self, error: AccessRefused) -> None:
        """Counts a refusal; its key is empty where it is not known."""
        self._refusals.labels(error.key, error.reason).inc()

    def reload_failed(self) -> None:
        """Counts a state of the file that could not be taken."""
        self._reload_failures.inc()


def _outcome_of(outcome: CallOutcome) -> str:
    return _OUTCOMES[type(outcome)]
