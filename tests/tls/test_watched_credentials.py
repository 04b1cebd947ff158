"""Files of TLS that are replaced while a door is open."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from tokenwire.environment import ConfigurationError
from tokenwire.metrics.tls import TlsMetrics
from tokenwire.tls import watched_credentials
from tokenwire.tls.pem_files import Credentials, PemFile, PemFiles
from tokenwire.tls.watched_credentials import WatchedCredentials

from ..certificates import PairFiles, chain_of


@pytest.fixture
def pair(tmp_path: Path) -> PairFiles:
    return PairFiles(tmp_path / "pair")


@pytest.fixture
def watched(pair: PairFiles) -> WatchedCredentials:
    return WatchedCredentials(pair.pem_files(), "grpc")


def write_over(pair: PairFiles) -> None:
    pair.replace()


def rename_over(pair: PairFiles) -> None:
    """As `mv` does: another inode under the same name."""
    for path, text in zip((pair.certificate, pair.key), _texts(pair), strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(text)
        fresh.replace(path)


def keep_times(pair: PairFiles) -> None:
    """As `cp --preserve` and images do: the new file is as old as the one before."""
    before = pair.certificate.stat()
    pair.replace()
    for path in (pair.certificate, pair.key):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _texts(pair: PairFiles) -> tuple[bytes, bytes]:
    leaf = pair.issue()
    return chain_of(leaf), leaf.private_key_pem.bytes()


@pytest.mark.parametrize("replace", [write_over, rename_over, keep_times])
def test_a_replaced_pair_is_taken_up(
    pair: PairFiles, watched: WatchedCredentials, replace: Callable[[PairFiles], None]
) -> None:
    """However the files are replaced, the next look finds them."""
    before = watched.current
    assert not watched.look()
    replace(pair)
    assert watched.look()
    assert watched.current.texts.certificate == pair.certificate.read_bytes()
    assert watched.current.context is not before.context
    assert not watched.look()


def test_a_swapped_link_is_taken_up(tmp_path: Path) -> None:
    """As Kubernetes does it: the folder behind the path is another one at once."""
    folder = tmp_path / "mounted"
    for name in ("..first", "..second"):
        PairFiles(tmp_path / name)
    folder.mkdir()
    (folder / "..data").symlink_to(tmp_path / "..first")
    for name in ("tls.crt", "tls.key"):
        (folder / name).symlink_to(Path("..data") / name)
    files = PemFiles(PemFile("CERT", folder / "tls.crt"), PemFile("KEY", folder / "tls.key"))
    watched = WatchedCredentials(files, "grpc")
    (folder / "..next").symlink_to(tmp_path / "..second")
    (folder / "..next").replace(folder / "..data")
    shutil.rmtree(tmp_path / "..first")
    assert watched.look()
    second = (tmp_path / "..second" / "tls.crt").read_bytes()
    assert watched.current.texts.certificate == second


def test_replaced_authorities_are_taken_up(pair: PairFiles, tmp_path: Path) -> None:
    """So are the authorities that clients' certificates come from."""
    watched = WatchedCredentials(pair.pem_files(has_authorities=True), "grpc")
    other = PairFiles(tmp_path / "other")
    shutil.copy(other.authorities, pair.authorities)
    assert watched.look()
    assert watched.current.texts.authorities == other.authorities.read_bytes()


def mismatch(pair: PairFiles) -> None:
    pair.key.write_bytes(pair.issue().private_key_pem.bytes())


def garbage(pair: PairFiles) -> None:
    pair.certificate.write_bytes(b"garbage")


def missing(pair: PairFiles) -> None:
    pair.key.unlink()


@pytest.mark.parametrize("break_it", [mismatch, garbage, missing])
def test_a_broken_pair_keeps_the_old_one(
    pair: PairFiles, watched: WatchedCredentials, break_it: Callable[[PairFiles], None]
) -> None:
    """It is logged and counted once, whatever the number of looks, until it is whole again."""
    before = watched.current
    whole = pair.certificate.read_bytes(), pair.key.read_bytes()
    break_it(pair)
    with structlog.testing.capture_logs() as events:
        for _ in range(4):
            assert not watched.look()
    assert watched.current is before
    assert watched.num_failed_reloads == 1
    (event,) = events
    assert (event["event"], event["log_level"], event["door"]) == (
        "tls_reload_failed",
        "error",
        "grpc",
    )
    assert event["problem"].startswith("TLS_SERVER_")
    pair.certificate.write_bytes(whole[0])
    pair.key.write_bytes(whole[1])
    assert not watched.look()  # as before
    break_it(pair)
    watched.look()
    watched.look()
    assert watched.num_failed_reloads == 2
    pair.replace()
    assert watched.look()
    assert watched.current.texts.key == pair.key.read_bytes()


def test_a_pair_between_two_writes_is_no_failure(
    pair: PairFiles, watched: WatchedCredentials
) -> None:
    """A look between the writing of the certificate and of its key counts and logs nothing."""
    certificate, key = _texts(pair)
    with structlog.testing.capture_logs() as events:
        pair.certificate.write_bytes(certificate)
        assert not watched.look()
        pair.key.write_bytes(key)
        assert watched.look()
    assert [event["event"] for event in events] == ["tls_files_reloaded"]
    assert watched.num_failed_reloads == 0


def test_nothing_to_begin_with(pair: PairFiles) -> None:
    """At the start there is no old pair to keep."""
    mismatch(pair)
    with pytest.raises(ConfigurationError):
        WatchedCredentials(pair.pem_files(), "grpc")


def test_expired_is_a_warning(pair: PairFiles) -> None:
    """An expired certificate is served, and warned about: at the start, and when it is taken up."""
    with structlog.testing.capture_logs() as events:
        pair.replace(days=30)
        watched = WatchedCredentials(pair.pem_files(), "http")
        assert not events
        pair.replace(days=-1)
        assert watched.look()
        WatchedCredentials(pair.pem_files(), "http")
    warnings = [event for event in events if event["log_level"] == "warning"]
    assert [event["event"] for event in warnings] == ["tls_certificate_expired"] * 2


def test_not_valid_yet_is_a_warning(pair: PairFiles) -> None:
    """So is one that is not valid yet, which every client refuses."""
    with structlog.testing.capture_logs() as events:
        pair.replace(begins_in_days=1, days=30)
        WatchedCredentials(pair.pem_files(), "http")
    (event,) = events
    assert (event["event"], event["log_level"]) == ("tls_certificate_not_yet_valid", "warning")


async def test_files_are_watched(
    pair: PairFiles, watched: WatchedCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While watching, nobody has to look; who asked is told."""
    monkeypatch.setattr(watched_credentials, "_LOOK_AGAIN_S", 0.01)
    changed = asyncio.Event()
    watched.on_change = lambda _: changed.set()
    async with asyncio.timeout(45), watched.watching():
        pair.replace()
        await changed.wait()


async def test_nothing_ends_the_watch(
    pair: PairFiles, watched: WatchedCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that nobody foresaw is logged, and the files that come next are taken up."""
    monkeypatch.setattr(watched_credentials, "_LOOK_AGAIN_S", 0.01)
    failed, changed = asyncio.Event(), asyncio.Event()

    def fail_once(_: Credentials) -> None:
        if failed.is_set():
            changed.set()
        else:
            failed.set()
            raise RuntimeError("unforeseen")

    watched.on_change = fail_once
    with structlog.testing.capture_logs() as events:
        async with asyncio.timeout(45), watched.watching():
            pair.replace()
            await failed.wait()
            pair.replace()
            await changed.wait()
    assert "tls_watch_failed" in [event["event"] for event in events]


def test_a_scrape_tells_the_end_and_the_failures(
    pair: PairFiles, watched: WatchedCredentials
) -> None:
    """When the certificate ends, and how many reloads failed: zero from the start."""
    registry = CollectorRegistry()
    registry.register(TlsMetrics(watched))
    failures = 'llm_tls_reload_failures_total{door="grpc"}'
    assert f"{failures} 0.0" in generate_latest(registry).decode()
    mismatch(pair)
    watched.look()
    watched.look()
    text = generate_latest(registry).decode()
    assert f"{failures} 1.0" in text
    end = registry.get_sample_value("llm_tls_cert_expiry_timestamp_seconds", {"door": "grpc"})
    assert end == watched.current.expires_at_s
