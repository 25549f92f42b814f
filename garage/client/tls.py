"""Whom to believe: the system's authorities, or exactly the one certificate whose fingerprint was confirmed."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from urllib.parse import urlsplit

from garage.client.errors import ClientError, local_error

CONNECT_SECONDS = 10.0


def context_for(certificate: str) -> ssl.SSLContext:
    """A context that trusts the system's authorities, or for a PEM that certificate alone, whatever name it bears."""
    context = ssl.create_default_context()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False  # the pinned certificate is the identity
        context.load_verify_locations(cadata=certificate)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def fingerprint(certificate: str) -> str:
    """`sha256:` and 64 hexadecimal digits, as the server prints it."""
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def same_fingerprint(given: str, certificate: str) -> bool:
    """Compares forgivingly: with or without `sha256:`, colons and capitals."""
    plain = given.strip().lower().removeprefix("sha256:").replace(":", "")
    return hmac.compare_digest(plain.encode(), fingerprint(certificate).removeprefix("sha256:").encode())


def other_fingerprint(shown: str) -> ClientError:
    """The error of a certificate that is not the one that was asked for."""
    hint = "the server shows {shown}; ask its admin before you believe it"
    return local_error("forbidden", "the certificate has another fingerprint", hint=hint, shown=fingerprint(shown))


def offered(url: str) -> tuple[str, bool]:
    """(the certificate that the server shows, as PEM; whether the system's authorities vouch for it). Nothing is sent to it."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 443)
    try:
        return _handshake(address, ssl.create_default_context()), True
    except ssl.SSLCertVerificationError:
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        return _connected(address, blind, url), False
    except OSError as error:
        raise _away(url, error) from None


def _connected(address: tuple[str, int], context: ssl.SSLContext, url: str) -> str:
    try:
        return _handshake(address, context)
    except OSError as error:
        raise _away(url, error) from None


def _handshake(address: tuple[str, int], context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(address, CONNECT_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=address[0]) as wrapped,
    ):
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"")


def _away(url: str, error: OSError) -> Exception:
    reason = error.strerror or str(error)
    hint = "check the address, and that the server runs"
    return local_error("unavailable", "{url} does not answer: {reason}", hint=hint, url=url, reason=reason)
