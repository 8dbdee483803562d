"""Decide, before the key is loaded, whether ids may be sent to an address."""

from migrate.cloudflare.client.base_url import BaseUrl, parse_plain_url, shown_url
from migrate.errors import UsageError

WORKERS_DOMAIN = ".workers.dev"


def parse_verifier_url(text: str, *, allow_other_host: bool = False) -> BaseUrl:
    """Accept a Worker's address below workers.dev over https, and this machine.

    With `allow_other_host`, any other host over https is accepted too. Raises UsageError otherwise.
    """
    found = parse_plain_url(text, _refused)
    if found.path:
        raise _refused(text, "it has a path, and the verifier answers at the root of its host")
    if not (found.loopback or found.host.endswith(WORKERS_DOMAIN) or allow_other_host):
        raise _refused(text, f"'{found.host}' is neither below workers.dev nor this machine")
    return found


def _refused(text: str, why: str) -> UsageError:
    return UsageError(
        f"verifier URL {shown_url(text)} is refused: {why}",
        remedy="give the address that wrangler printed for the verifier, as "
        "https://q2v-verifier.NAME.workers.dev; for a domain of your own add --allow-other-host",
    )
