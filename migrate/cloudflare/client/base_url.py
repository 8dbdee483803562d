"""Decide, before the token is loaded, whether it may be sent to an address."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass

from migrate.errors import UsageError

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
    loopback: bool


def parse_base_url(text: str, *, allow_other_host: bool = False) -> BaseUrl:
    """Accept the public API over https, and this machine over http or https.

    With `allow_other_host`, any other host over https is accepted too. Raises UsageError otherwise:
    look-alikes, user-info, non-ASCII or trailing-dot names, odd spellings of addresses.
    """
    scheme_and_host, separator, path = text.partition("://")
    host_and_port, slash, rest = path.partition("/")
    # Scheme and host do not depend on case; the path does.
    match = _PLAIN_URL.fullmatch(
        f"{scheme_and_host.lower()}{separator}{host_and_port.lower()}{slash}{rest}"
    )
    if match is None:
        raise _refused(text, "it is not a plain http(s) address")
    host = match["host"].strip("[]")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port <= PORT_MAX:
        raise _refused(text, f"there is no port {port}")
    loopback = _is_loopback(host)
    if not loopback and match["scheme"] != "https":
        raise _refused(text, "plain http is for this machine only")
    public = host == PUBLIC_HOST and port in {None, 443}
    if not (loopback or public or allow_other_host):
        raise _refused(text, f"'{host}' is neither {PUBLIC_HOST} nor this machine")
    return BaseUrl(url=match[0].rstrip("/"), host=host, loopback=loopback)


def account_fingerprint(account_id: str) -> str:
    """16 hex digits that stand for the account's id in plans and manifests."""
    return hashlib.sha256(f"cloudflare-account:{account_id}".encode()).hexdigest()[:16]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(text: str, why: str) -> UsageError:
    # User-info may hold a secret, so an address with "@" is never repeated.
    shown = "the given address" if "@" in text else ascii(text[:100])
    return UsageError(f"API base URL {shown} is refused: {why}", remedy=_REMEDY)
