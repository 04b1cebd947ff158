"""What a scrape is told about certificates, door by door; without TLS there is nothing to tell."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..tls.watched_credentials import WatchedCredentials

_DOOR = ("door",)


class TlsMetrics(Collector):
    """Reads the credentials in force of all doors of a process when it is scraped.

    One for all of them: a metric stands once on a page, with the samples of every door.
    """

    def __init__(self, *doors: WatchedCredentials) -> None:
        self._doors = doors

    def collect(self) -> Iterator[Metric]:
        """Yields when the certificates in force end, and how often new files were refused."""
        expiry = GaugeMetricFamily(
            "llm_tls_cert_expiry_timestamp_seconds",
            "When the certificate in force is no longer valid, in seconds since 1970.",
            labels=_DOOR,
        )
        failures = CounterMetricFamily(
            "llm_tls_reload_failures",
            "Replaced files of TLS that could not be used, so that the old ones stay in force.",
            labels=_DOOR,
        )
        for credentials in self._doors:
            door = (credentials.door,)
            expires_at_s = credentials.current.expires_at_s
            if expires_at_s is not None:
                expiry.add_metric(door, expires_at_s)
            failures.add_metric(door, credentials.num_failed_reloads)
        if self._doors:
            yield expiry
            yield failures
