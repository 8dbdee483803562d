"""Check that the token is active and has the permissions that the run needs."""

from dataclasses import dataclass

from migrate.cloudflare.client.api import (
    JSON,
    Answer,
    ApiRequest,
    Operation,
    member,
    optional_member,
    result_of,
)
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.errors import AccessError

VERIFY = Operation(name="verify token", scope="")  # any token of the account may ask this
ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """The token's state as the service reports it. Permissions are not part of it."""

    status: str  # active, disabled, expired
    expires_on: str | None  # RFC 3339


def verify_token(http: CloudflareHttp) -> TokenState:
    """Read the token's state from the endpoint of user tokens, else from that of account tokens.

    Raises AccessError when neither endpoint knows the token, or when it is not active.
    """
    try:
        state = _ask(http, "/user/tokens/verify")
    except AccessError:
        # The first endpoint refuses tokens that belong to an account (docs/services.md, Tokens).
        state = _ask(http, http.account_path("tokens", "verify"))
    if state.status != ACTIVE:
        raise AccessError(
            f"the token is {state.status}", remedy="create another token with the same permissions"
        )
    return state


def _ask(http: CloudflareHttp, path: str) -> TokenState:
    return http.send(ApiRequest(operation=VERIFY, method="GET", path=path), _read_state)


def _read_state(answer: Answer) -> TokenState:
    record = result_of(answer, dict, "the token's state")
    return TokenState(
        status=member(record, "status", str, "the token's state"),
        expires_on=optional_member(record, "expires_on", str, "the token's state"),
    )


def probe_access(
    http: CloudflareHttp,
    *,
    index_name: str | None,
    namespace_id: str | None,
    write: bool = False,
) -> None:
    """Send one request per permission that the run needs. A name of None skips that product.

    Raises AccessError naming the missing permission. Does not check that the index and the
    namespace exist. With `write`, the permissions to write are checked as well, by requests that
    change nothing: an upload with a content type that is always refused, and the removal of an
    empty list of keys.
    """
    for request in _probes(http, index_name, namespace_id, write=write):
        # Any other refusal shows that the request passed the permission check.
        http.exchange(request, lambda _: None)


def _probes(
    http: CloudflareHttp, index_name: str | None, namespace_id: str | None, *, write: bool
) -> list[ApiRequest]:
    probes = []
    if index_name is not None:
        index = http.account_path("vectorize", "v2", "indexes", index_name)
        probes.append(_probe("GET", index, "Vectorize: Read"))
        if write:
            upsert = f"{index}/upsert"
            probes.append(_probe("POST", upsert, "Vectorize: Edit", content_type="text/plain"))
    if namespace_id is not None:
        namespace = http.account_path("storage", "kv", "namespaces", namespace_id)
        probes.append(_probe("GET", namespace, "Workers KV Storage: Read"))
        if write:
            delete = f"{namespace}/bulk/delete"
            scope = "Workers KV Storage: Edit"
            probes.append(_probe("POST", delete, scope, body=b"[]", content_type=JSON))
    return probes


def _probe(
    method: str, path: str, scope: str, *, body: bytes = b"", content_type: str | None = None
) -> ApiRequest:
    return ApiRequest(
        operation=Operation(name=f"probe of '{scope}'", scope=scope),
        method=method,
        path=path,
        body=(body,) if body else (),
        content_type=content_type,
    )
