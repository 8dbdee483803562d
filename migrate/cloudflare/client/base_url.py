"""Decide, before the token is loaded, whether it may be sent to an address."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from migrate.errors import UsageError
from migrate.loopback import is_loopback

PUBLIC_BASE_URL = "https://api.cloudflare.com/client/v4"
PUBLIC_HOST = "api.cloudflare.com"
PORT_MAX = 65_535

# Stricter than the URL grammar: an unusual spelling is refused, not normalised.
# No user-info, no query, no fragment, no escapes, ASCII only, no empty label, no trailing dot.
_PLAIN_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?",
    re.ASCII,
)
_REMEDY = (
    f"leave target.api_base_url (CLOUDFLARE_API_BASE_URL) unset to use {PUBLIC_BASE_URL}, "
    "give a loopback address, or allow another https host explicitly"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseUrl:
    """An address that `parse_base_url` accepted; the client takes no other."""

    url: str  # without a trailing slash
    host: str  # lower case, without brackets and port
    port: int | None  # None: that of the scheme
    path: str  # "" or with a slash in front, none at its end
    loopback: bool


def parse_base_url(text: str, *, allow_other_host: bool = False) -> BaseUrl:
    """Accept the public API over https, and this machine over http or https.

    With `allow_other_host`, any other host over https is accepted too. Raises UsageError otherwise:
    look-alikes, user-info, non-ASCII or trailing-dot names, odd spellings of addresses.
    """
    found = parse_plain_url(text, _refused)
    public = found.host == PUBLIC_HOST and found.port in {None, 443}
    if not (found.loopback or public or allow_other_host):
        raise _refused(text, f"'{found.host}' is neither {PUBLIC_HOST} nor this machine")
    return found


def parse_plain_url(text: str, refused: Callable[[str, str], UsageError]) -> BaseUrl:
    """Accept a host over https, and this machine over http or https.

    `refused` makes the error from the address and what is wrong with it.
    """
    scheme_and_host, separator, path = text.partition("://")
    host_and_port, slash, rest = path.partition("/")
    # Scheme and host do not depend on case; the path does.
    match = _PLAIN_URL.fullmatch(
        f"{scheme_and_host.lower()}{separator}{host_and_port.lower()}{slash}{rest}"
    )
    if match is None:
        raise refused(text, "it is not a plain http(s) address")
    host = match["host"].strip("[]")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port <= PORT_MAX:
        raise refused(text, f"there is no port {port}")
    loopback = is_loopback(host)
    if not loopback and match["scheme"] != "https":
        raise refused(text, "plain http is for this machine only")
    return BaseUrl(
        url=match[0].rstrip("/"), host=host, port=port, path=match["path"], loopback=loopback
    )


def account_fingerprint(account_id: str) -> str:
    """16 hex digits that stand for the account's id in plans and manifests."""
    return hashlib.sha256(f"cloudflare-account:{account_id}".encode()).hexdigest()[:16]


def shown_url(text: str) -> str:
    """A refused address for a message; one with "@" is never repeated: it may hold a secret."""
    return "the given address" if "@" in text else ascii(text[:100])


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"API base URL {shown_url(text)} is refused: {why}", remedy=_REMEDY)
