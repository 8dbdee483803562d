"""Translate what the HTTP library raises into the two things a caller can do about it."""

import ssl
from enum import StrEnum

import httpx


class Fault(StrEnum):
    """What an exception of the library means for the request."""

    TRANSIENT = "transient"  # the same bytes may be sent again
    BUG = "bug"  # our own misuse of the library: stays as it is


# Every exception class of the library; a test fails when a new version brings another one.
FAULTS: dict[type[BaseException], Fault] = {
    httpx.HTTPError: Fault.BUG,
    httpx.RequestError: Fault.BUG,
    httpx.TransportError: Fault.TRANSIENT,
    httpx.TimeoutException: Fault.TRANSIENT,
    httpx.ConnectTimeout: Fault.TRANSIENT,
    httpx.ReadTimeout: Fault.TRANSIENT,
    httpx.WriteTimeout: Fault.TRANSIENT,
    httpx.PoolTimeout: Fault.TRANSIENT,
    httpx.NetworkError: Fault.TRANSIENT,
    httpx.ConnectError: Fault.TRANSIENT,  # or untrusted: see `is_untrusted`
    httpx.ReadError: Fault.TRANSIENT,
    httpx.WriteError: Fault.TRANSIENT,
    httpx.CloseError: Fault.TRANSIENT,
    httpx.ProtocolError: Fault.TRANSIENT,
    httpx.RemoteProtocolError: Fault.TRANSIENT,  # truncated or malformed answer
    httpx.LocalProtocolError: Fault.BUG,
    httpx.ProxyError: Fault.TRANSIENT,
    httpx.UnsupportedProtocol: Fault.BUG,
    httpx.DecodingError: Fault.TRANSIENT,  # broken compression
    httpx.TooManyRedirects: Fault.BUG,  # none is ever followed
    httpx.HTTPStatusError: Fault.BUG,  # statuses are judged in cloudflare/client/verdict.py
    httpx.InvalidURL: Fault.BUG,
    httpx.CookieConflict: Fault.BUG,
    httpx.StreamError: Fault.BUG,
    httpx.StreamConsumed: Fault.BUG,
    httpx.StreamClosed: Fault.BUG,
    httpx.RequestNotRead: Fault.BUG,
    httpx.ResponseNotRead: Fault.BUG,
}


# How TLS libraries name an answer that is none of TLS; newer ones have the last two.
_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}


def speaks_no_tls(error: BaseException) -> bool:
    """Whether the peer answered a TLS handshake with something that is no TLS."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def is_untrusted(error: BaseException) -> bool:
    """Whether TLS found the peer not to be who it should be, or offering too old a protocol.

    A connection that just ends within the handshake is a network fault, no matter of trust.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            return False
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
