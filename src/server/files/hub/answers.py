"""What an answer of a hub, or the lack of one, means: try again, or tell the operator."""

from __future__ import annotations

import datetime
import email.utils
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiohttp

from .retry import HubFailure, TransientFailure, WrongContents

_UNREACHABLE = (
    "check HF_ENDPOINT and the network, or put the files under LLM_MODEL_PATH and set "
    "HF_HUB_OFFLINE=true"
)
KEPT = "what has arrived is kept: the next start of the server goes on from there"
# RateLimit: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers-09), as the public hub sends it.
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, in words: never with a token or a password.

    `file` is empty for the list of files. `credential` names the variable that holds what the
    hub is shown, empty where it is shown nothing; `patience` the variable of the time limit.
    `is_hub` is not so behind a redirect to another host.
    """

    host: str
    file: str
    credential: str
    patience: str = "HF_HUB_ETAG_TIMEOUT"
    is_hub: bool = True

    def at(self, host: str) -> Place:
        """Returns the same behind a redirect to `host`."""
        return replace(self, host=host, is_hub=self.is_hub and host == self.host)

    @property
    def what(self) -> str:
        """What is asked for."""
        return self.file or "the list of files"


def failure_of_status(place: Place, status: int, headers: Mapping[str, str]) -> HubFailure:
    """Returns what a status from 400 on means."""
    told = f"(status {status}, asked for {place.what})"
    if status in (401, 403):
        return _refusal(place, status, headers, told)
    if status == 404:
        if place.file:
            return HubFailure(
                f"{place.host} lists {place.file} and does not have it (status 404)",
                "check HF_ENDPOINT: a mirror may hold the repository in part",
            )
        return HubFailure(f"{place.host} does not know it (status 404)", "check the id")
    if status == 416:
        return WrongContents(f"{place.host} has less of {place.what} than has arrived")
    if status in (408, 425, 429) or status >= 500:
        words = "takes no more requests for now" if status == 429 else "failed"
        return TransientFailure(
            f"{place.host} {words} {told}",
            f"try again later; {KEPT}" if place.file else "try again later",
            _retry_after_s(headers),
        )
    return HubFailure(f"{place.host} refuses {told}", "check HF_ENDPOINT")


def failure_of_connection(
    place: Place, error: aiohttp.ClientError | TimeoutError, timeout_s: float
) -> HubFailure:
    """Returns what it means that an answer did not come, or not to its end."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return HubFailure(
                f"the certificate of {place.host} is not trusted",
                "name the file of its certificate authority in SSL_CERT_FILE",
            )
        case aiohttp.ClientConnectorDNSError():
            return TransientFailure(
                f"{place.host} cannot be reached (no address is known for it)", _UNREACHABLE
            )
        case aiohttp.ConnectionTimeoutError():
            return TransientFailure(
                f"{place.host} cannot be reached (no connection within {timeout_s:g} s)",
                _UNREACHABLE,
            )
        case aiohttp.ClientSSLError():
            return TransientFailure(
                f"{place.host} cannot be reached (no encrypted connection comes about)",
                "check that HF_ENDPOINT is an https address, and the network",
            )
        case aiohttp.ClientProxyConnectionError():
            return TransientFailure(
                f"the proxy on the way to {place.host} cannot be reached ({_cause(error)})",
                "check the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
            )
        case aiohttp.ClientHttpProxyError():
            return HubFailure(
                f"the proxy on the way to {place.host} refuses (status {error.status})",
                "check the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
            )
        case aiohttp.ClientConnectorError():
            return TransientFailure(
                f"{place.host} cannot be reached ({_cause(error)})", _UNREACHABLE
            )
        case TimeoutError():
            return stall(place, timeout_s)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return HubFailure(f"{place.host} sends to an address that is none", "check HF_ENDPOINT")
        case _:
            return TransientFailure(
                f"{place.host} closed the connection before {place.what} was complete",
                KEPT if place.file else _UNREACHABLE,
            )


def stall(place: Place, timeout_s: float) -> TransientFailure:
    """Returns the failure of a hub that sends nothing, or next to nothing."""
    return TransientFailure(
        f"{place.host} sent nothing of {place.what} for {timeout_s:g} s",
        f"{place.patience} makes it wait longer; {KEPT if place.file else _UNREACHABLE}",
    )


def not_a_hub(place: Place) -> HubFailure:
    """Returns the failure of a server that answers, but not as a hub does."""
    return HubFailure(
        f"{place.host} does not answer as a hub does (asked for {place.what})", "check HF_ENDPOINT"
    )


def _refusal(place: Place, status: int, headers: Mapping[str, str], told: str) -> HubFailure:
    if not place.is_hub:
        return HubFailure(
            f"{place.host}, where the hub keeps its files, refuses {told}",
            "check the proxy and the clock of this machine",
        )
    is_gated = headers.get("X-Error-Code") == "GatedRepo"
    if not place.credential:
        terms = "accept the model's terms on its page and " if is_gated else ""
        return HubFailure(
            f"{place.host} wants a token {told} and no HF_TOKEN is set",
            f"{terms}set HF_TOKEN to one with access to it; a hub says so of ids that do not "
            "exist, too: check the id",
        )
    if status == 401 and not is_gated:
        return HubFailure(
            f"{place.host} does not accept what {place.credential} holds {told}",
            f"set {place.credential} anew, and check the id",
        )
    return HubFailure(
        f"{place.host} gives what {place.credential} holds no access {told}",
        "ask for access on the model's page, or take the token of an account that has it",
    )


def _cause(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number).lower() if number else "the connection failed"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    if limit:
        return float(limit[1])
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    now = datetime.datetime.now(datetime.UTC)
    return max(0.0, (moment.astimezone(datetime.UTC) - now).total_seconds())
