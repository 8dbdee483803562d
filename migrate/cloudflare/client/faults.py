"""Classify the exceptions of the HTTP library by what the caller can do about them."""

import ssl
from enum import StrEnum

import httpx


class Fault(StrEnum):
    """What an exception of the library says about the request."""

    TRANSIENT = "transient"  # the same bytes may be sent again
    BUG = "bug"  # a misuse of the library, which is not translated


# Every exception class of the library. A test fails when a new version has another one.
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


# The names that TLS libraries give to an answer that is not TLS; newer ones use the last two.
_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}


def speaks_no_tls(error: BaseException) -> bool:
    """Whether the peer answered a TLS handshake with another protocol."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def is_untrusted(error: BaseException) -> bool:
    """Whether TLS rejected the peer's certificate, or its protocol version as too old.

    A connection that ends during the handshake is a network fault and does not count.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            return False
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
