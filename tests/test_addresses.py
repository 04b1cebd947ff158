"""What a caller is told to type."""

from __future__ import annotations

from pathlib import Path

from tokenwire.addresses import Addresses


def test_defaults_need_no_options() -> None:
    """In plaintext on the default port there is nothing to say."""
    addresses = Addresses(50051, 8091)
    assert (addresses.grpc, addresses.http) == ("localhost:50051", "http://localhost:8091")
    assert (addresses.curl, addresses.chat_options) == ("curl", "")


def test_another_port_is_named() -> None:
    """Another port is named."""
    assert Addresses(6000, 8091).chat_options == " --target localhost:6000"


def test_tls_names_what_it_needs() -> None:
    """With TLS the name of the certificate, the authorities and a client's certificate are."""
    addresses = Addresses(
        *(50051, 8091),
        hostname="llm.example.com",
        has_tls=True,
        authorities=Path("/my certificates/ca.crt"),
        has_client_certificates=True,
    )
    assert addresses.http == "https://llm.example.com:8091"
    assert addresses.curl == "curl --cacert '/my certificates/ca.crt'"
    assert addresses.chat_options == (
        " --target llm.example.com:50051 --tls --tls-ca-cert '/my certificates/ca.crt'"
        " --tls-client-cert FILE --tls-client-key FILE"
    )


def test_tls_that_is_trusted_already() -> None:
    """Where the authority is known, nothing is named."""
    addresses = Addresses(50051, 8091, has_tls=True)
    assert (addresses.curl, addresses.chat_options) == ("curl", " --tls")
