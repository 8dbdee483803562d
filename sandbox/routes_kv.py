"""The Workers KV endpoints: read the request, ask the store, answer in the envelope."""

import base64
import binascii
from collections.abc import Sequence
from math import ceil

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.account import Account
from sandbox.bodies import read_body, read_form, read_json
from sandbox.envelope import ok
from sandbox.errors import key_not_found, kv_invalid
from sandbox.kv_store import Entry, KvStore, check_entry_metadata, check_key, check_value
from sandbox.limits import (
    KV_BULK_BYTES_MAX,
    KV_LIST_LIMIT_MAX,
    KV_LIST_LIMIT_MIN,
    KV_PAIRS_MAX,
    KV_READ_KEYS_MAX,
)

PREFIX = "/client/v4/accounts/{account_id}/storage/kv/namespaces"
PER_PAGE_DEFAULT, PER_PAGE_MAX = 20, 1_000


def _kv(request: Request) -> KvStore:
    account: Account = request.app.state.account
    return account.kv


def _namespace(request: Request) -> str:
    """The namespace in the path, which has to exist."""
    return str(_kv(request).document(request.path_params["ns"])["id"])


async def create(request: Request) -> Response:
    """POST /namespaces: answers 200."""
    match await read_json(request):
        case {"title": title}:
            return ok(_kv(request).create(title))
        case _:
            raise kv_invalid("a title is needed")


async def list_namespaces(request: Request) -> Response:
    """GET /namespaces, page by page."""
    page = _number(request, "page", 1, 1, 10**6)
    per_page = _number(request, "per_page", PER_PAGE_DEFAULT, 1, PER_PAGE_MAX)
    found = _kv(request).namespaces(
        request.query_params.get("order", "title"), request.query_params.get("direction", "asc")
    )
    shown = found[(page - 1) * per_page : page * per_page]
    info = {
        "count": len(shown),
        "page": page,
        "per_page": per_page,
        "total_count": len(found),
        "total_pages": ceil(len(found) / per_page),
    }
    return ok(shown, info=info)


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise kv_invalid(f"{name} is between {low} and {high}")
    return int(text)


async def get(request: Request) -> Response:
    """GET /namespaces/{ns}."""
    return ok(_kv(request).document(_namespace(request)))


async def rename(request: Request) -> Response:
    """PUT /namespaces/{ns}."""
    match await read_json(request):
        case {"title": title}:
            return ok(_kv(request).rename(_namespace(request), title))
        case _:
            raise kv_invalid("a title is needed")


async def drop(request: Request) -> Response:
    """DELETE /namespaces/{ns}."""
    _kv(request).drop(_namespace(request))
    return ok(None)


async def bulk_write(request: Request) -> Response:
    """PUT /namespaces/{ns}/bulk."""
    namespace = _namespace(request)
    body = await read_body(request, bytes_max=KV_BULK_BYTES_MAX)
    try:
        pairs = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise kv_invalid("the body is no JSON") from error
    if not isinstance(pairs, list) or len(pairs) > KV_PAIRS_MAX:
        raise kv_invalid(f"a list of at most {KV_PAIRS_MAX} pairs is expected")
    entries = [_pair(_kv(request), pair) for pair in pairs]
    _check_distinct([entry.key for entry in entries])
    return _bulk_answer(_kv(request).write(namespace, entries), len(entries))


def _pair(kv: KvStore, pair: object) -> Entry:
    match pair:
        case {"key": key, "value": str() as text}:
            value = text.encode()
            if pair.get("base64"):
                value = _decode_base64(text)
            return Entry(
                key=check_key(key),
                value=check_value(value),
                metadata=check_entry_metadata(pair.get("metadata")),
                expiration=kv.expiration(pair.get("expiration"), pair.get("expiration_ttl")),
            )
        case _:
            raise kv_invalid("every pair has a key and a value, and both are strings")


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise kv_invalid("the value is no base64") from error


def _check_distinct(keys: Sequence[str]) -> None:
    if len(set(keys)) != len(keys):
        raise kv_invalid("a key stands twice in one request")


def _bulk_answer(failed: list[str], count: int) -> Response:
    return ok({"successful_key_count": count - len(failed), "unsuccessful_keys": failed})


async def bulk_delete(request: Request) -> Response:
    """POST /namespaces/{ns}/bulk/delete, and the old DELETE /namespaces/{ns}/bulk."""
    namespace = _namespace(request)
    keys = await read_json(request)
    if not isinstance(keys, list) or len(keys) > KV_PAIRS_MAX:
        raise kv_invalid(f"a list of at most {KV_PAIRS_MAX} keys is expected")
    checked = [check_key(key) for key in keys]
    _check_distinct(checked)
    return _bulk_answer(_kv(request).delete(namespace, checked), len(checked))


async def bulk_read(request: Request) -> Response:
    """POST /namespaces/{ns}/bulk/get."""
    namespace = _namespace(request)
    document = await read_json(request)
    match document:
        case {"keys": list() as keys} if 1 <= len(keys) <= KV_READ_KEYS_MAX:
            as_json = document.get("type", "text") == "json"
            with_metadata = bool(document.get("withMetadata", False))
            values = {
                check_key(key): _value(_kv(request).read(namespace, key), as_json, with_metadata)
                for key in keys
            }
            return ok({"values": values})
        case _:
            raise kv_invalid(f"1 to {KV_READ_KEYS_MAX} keys are expected")


def _value(entry: Entry | None, as_json: bool, with_metadata: bool) -> object:
    if entry is None:
        return None
    value: object = entry.value.decode(errors="replace")
    if as_json:
        try:
            value = orjson.loads(entry.value)
        except orjson.JSONDecodeError as error:
            raise kv_invalid("a value is no JSON") from error
    if not with_metadata:
        return value
    found: dict[str, object] = {"value": value, "metadata": entry.metadata}
    if entry.expiration is not None:
        found["expiration"] = entry.expiration
    return found


async def list_keys(request: Request) -> Response:
    """GET /namespaces/{ns}/keys."""
    limit = _number(request, "limit", KV_LIST_LIMIT_MAX, KV_LIST_LIMIT_MIN, KV_LIST_LIMIT_MAX)
    page, cursor = _kv(request).list_page(
        _namespace(request),
        request.query_params.get("prefix", ""),
        limit,
        request.query_params.get("cursor", ""),
    )
    found = []
    for entry in page:
        shown: dict[str, object] = {"name": entry.key}
        if entry.expiration is not None:
            shown["expiration"] = entry.expiration
        if entry.metadata is not None:
            shown["metadata"] = entry.metadata
        found.append(shown)
    return ok(found, info={"count": len(found), "cursor": cursor})


async def read_value(request: Request) -> Response:
    """GET /namespaces/{ns}/values/{key}: raw bytes, no envelope."""
    entry = _kv(request).read(_namespace(request), _key(request))
    if entry is None:
        raise key_not_found()
    headers = {} if entry.expiration is None else {"expiration": str(entry.expiration)}
    return Response(entry.value, media_type="application/octet-stream", headers=headers)


def _key(request: Request) -> str:
    """The key in the path; the server has decoded its percent signs once."""
    return check_key(request.path_params["key"])


async def write_value(request: Request) -> Response:
    """PUT /namespaces/{ns}/values/{key}: raw bytes, or a form with value and metadata."""
    namespace, key, kv = _namespace(request), _key(request), _kv(request)
    body = await read_body(request)
    metadata: object = None
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        form = read_form(body, kind)
        if "value" not in form:
            raise kv_invalid("the form has no value")
        body = form["value"]
        metadata = orjson.loads(form["metadata"]) if form.get("metadata") else None
    entry = Entry(
        key=key,
        value=check_value(body),
        metadata=check_entry_metadata(metadata),
        expiration=kv.expiration(
            _seconds(request, "expiration"), _seconds(request, "expiration_ttl")
        ),
    )
    kv.check_pace(namespace, key)
    kv.write(namespace, [entry])
    return ok(None)


def _seconds(request: Request, name: str) -> object:
    text = request.query_params.get(name)
    return int(text) if text is not None and text.isdigit() else text


async def delete_value(request: Request) -> Response:
    """DELETE /namespaces/{ns}/values/{key}."""
    _kv(request).delete(_namespace(request), [_key(request)])
    return ok(None)


async def read_metadata(request: Request) -> Response:
    """GET /namespaces/{ns}/metadata/{key}."""
    entry = _kv(request).read(_namespace(request), _key(request))
    if entry is None:
        raise key_not_found()
    return ok(entry.metadata)


def routes() -> list[Route]:
    """All of them, with their methods."""
    namespace = f"{PREFIX}/{{ns}}"
    return [
        Route(PREFIX, create, methods=["POST"]),
        Route(PREFIX, list_namespaces, methods=["GET"]),
        Route(namespace, get, methods=["GET"]),
        Route(namespace, rename, methods=["PUT"]),
        Route(namespace, drop, methods=["DELETE"]),
        Route(f"{namespace}/bulk", bulk_write, methods=["PUT"]),
        Route(f"{namespace}/bulk", bulk_delete, methods=["DELETE"]),
        Route(f"{namespace}/bulk/delete", bulk_delete, methods=["POST"]),
        Route(f"{namespace}/bulk/get", bulk_read, methods=["POST"]),
        Route(f"{namespace}/keys", list_keys, methods=["GET"]),
        Route(f"{namespace}/values/{{key:path}}", read_value, methods=["GET"]),
        Route(f"{namespace}/values/{{key:path}}", write_value, methods=["PUT"]),
        Route(f"{namespace}/values/{{key:path}}", delete_value, methods=["DELETE"]),
        Route(f"{namespace}/metadata/{{key:path}}", read_metadata, methods=["GET"]),
    ]
