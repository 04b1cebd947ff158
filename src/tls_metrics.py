"""What a scrape is told about the certificate of a door; there is nothing to tell without TLS."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .tls import WatchedCredentials

_DOOR = ("door",)


class TlsMetrics(Collector):
    """Reads the credentials in force when it is scraped."""

    def __init__(self, credentials: WatchedCredentials) -> None:
        self._credentials = credentials

    def collect(self) -> Iterator[Metric]:
        """Yields when the certificate in force ends, and how often new files were refused."""
        door = (self._credentials.door,)
        expiry = GaugeMetricFamily(
            "llm_tls_cert_expiry_timestamp_seconds",
            "When the certificate in force is no longer valid, in seconds since 1970.",
            labels=_DOOR,
        )
        expires_at_s = self._credentials.current.expires_at_s
        if expires_at_s is not None:
            expiry.add_metric(door, expires_at_s)
        yield expiry
        failures = CounterMetricFamily(
            "llm_tls_reload_failures",
            "Replaced files of TLS that could not be used, so that the old ones stay in force.",
            labels=_DOOR,
        )
        failures.add_metric(door, self._credentials.num_failed_reloads)
        yield failures
