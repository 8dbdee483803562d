"""Routes of Workers KV: requests into store calls, results into answers."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from sandbox.clock import Clock
from sandbox.errors import invalid_kv, key_not_found
from sandbox.kv_rules import (
    KvPair,
    check_expiry,
    check_key,
    check_metadata,
    check_value,
    parse_keys,
    parse_pairs,
)
from sandbox.kv_store import KvNamespace
from sandbox.limits import (
    KV_LIST_LIMIT_MAX,
    KV_LIST_LIMIT_MIN,
    KV_NAMESPACES_PER_PAGE_DEFAULT,
    KV_NAMESPACES_PER_PAGE_MAX,
    KV_READ_KEYS_MAX,
)
from sandbox.messages import Request, Response, success
from sandbox.multipart import parse_form
from sandbox.routing import Route
from sandbox.store import SandboxStore

_PREFIX = "accounts/{account}/storage/kv/namespaces"
_DIGITS_MAX = 12  # no number in a query string is longer
_BAD_BODY = "could not parse the request body"


class KvRoutes:
    """One method per operation."""

    def __init__(self, store: SandboxStore, clock: Clock) -> None:
        self._kv = store.kv
        self._clock = clock

    def routes(self) -> list[Route]:
        """All of them."""
        namespace = _PREFIX + "/{namespace}"
        value, write, bulk, read = namespace + "/values/{key}", "kv-write", "kv-bulk", "kv-read"
        return [
            Route("POST", _PREFIX, self.create),
            Route("GET", _PREFIX, self.list_namespaces),
            Route("GET", namespace, self.get),
            Route("PUT", namespace, self.rename),
            Route("DELETE", namespace, self.delete),
            Route("PUT", namespace + "/bulk", self.write_bulk, bulk),
            Route("DELETE", namespace + "/bulk", self.delete_bulk, bulk),
            Route("POST", namespace + "/bulk/delete", self.delete_bulk, bulk),
            Route("POST", namespace + "/bulk/get", self.read_bulk, read),
            Route("GET", namespace + "/keys", self.list_keys, read),
            Route("GET", value, self.read_value, read),
            Route("PUT", value, self.write_value, write),
            Route("DELETE", value, self.delete_value, write),
            Route("GET", namespace + "/metadata/{key}", self.read_metadata, read),
        ]

    # Namespaces -----------------------------------------------------------------------------

    def create(self, request: Request) -> Response:
        """Create a KV namespace; answers 200, not 201."""
        return success(_namespace_object(self._kv.create_namespace(_title(request))))

    def list_namespaces(self, request: Request) -> Response:
        """A page of namespaces."""
        page = _whole_number(request, "page", 1, 1, 1_000_000)
        per_page = _whole_number(
            request, "per_page", KV_NAMESPACES_PER_PAGE_DEFAULT, 1, KV_NAMESPACES_PER_PAGE_MAX
        )
        namespaces = _ordered(
            self._kv.namespaces(),
            request.parameters.get("order", "id"),
            request.parameters.get("direction", "asc"),
        )
        shown = namespaces[(page - 1) * per_page : page * per_page]
        return success(
            [_namespace_object(one) for one in shown],
            result_info={
                "count": len(shown),
                "page": page,
                "per_page": per_page,
                "total_count": len(namespaces),
                "total_pages": -(-len(namespaces) // per_page),
            },
        )

    def get(self, _: Request, namespace_id: str) -> Response:
        """One namespace."""
        return success(_namespace_object(self._kv.namespace(namespace_id)))

    def rename(self, request: Request, namespace_id: str) -> Response:
        """Give a namespace another title."""
        namespace = self._kv.rename_namespace(namespace_id, _title(request))
        return success(_namespace_object(namespace))

    def delete(self, _: Request, namespace_id: str) -> Response:
        """Delete a namespace with its entries."""
        self._kv.delete_namespace(namespace_id)
        return success(None)

    # Bulk -----------------------------------------------------------------------------------

    def write_bulk(self, request: Request, namespace_id: str) -> Response:
        """Write up to 10,000 entries; some may be left out and named."""
        pairs = parse_pairs(request.body, now=self._clock.now())
        return self._bulk(request, namespace_id, [(pair.key, pair) for pair in pairs])

    def delete_bulk(self, request: Request, namespace_id: str) -> Response:
        """Delete up to 10,000 keys; some may be left out and named."""
        keys = dict.fromkeys(parse_keys(request.body))
        return self._bulk(request, namespace_id, [(key, None) for key in keys])

    def _bulk(
        self, request: Request, namespace_id: str, pairs: Sequence[tuple[str, KvPair | None]]
    ) -> Response:
        self._kv.namespace(namespace_id)
        partial = "kv-partial" in request.struck
        left_out = self._kv.write_bulk(namespace_id, pairs, partial=partial)
        return success(
            {
                "successful_key_count": len(pairs) - len(left_out),
                "unsuccessful_keys": left_out,
            }
        )

    def read_bulk(self, request: Request, namespace_id: str) -> Response:
        """Read up to 100 values; null for an absent one."""
        self._kv.namespace(namespace_id)
        body = request.json(invalid_kv(_BAD_BODY))
        keys = body.get("keys") if isinstance(body, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= KV_READ_KEYS_MAX:
            raise invalid_kv(f"keys must be a list of 1 to {KV_READ_KEYS_MAX} keys")
        kind, with_metadata = body.get("type", "text"), body.get("withMetadata", False)
        if kind not in ("text", "json") or not isinstance(with_metadata, bool):
            raise invalid_kv("type must be text or json, withMetadata a boolean")

        def value_object(key: str) -> Any:
            pair = self._kv.read(namespace_id, key)
            if pair is None:
                return None
            value = _value_object(pair, kind)
            if not with_metadata:
                return value
            return _with_expiration(
                {"value": value, "metadata": _fragment(pair.metadata)}, pair.expiration
            )

        return success({"values": {key: value_object(key) for key in map(check_key, keys)}})

    # Keys -----------------------------------------------------------------------------------

    def list_keys(self, request: Request, namespace_id: str) -> Response:
        """A page of keys; it may be empty and still not the last."""
        self._kv.namespace(namespace_id)
        limit = _whole_number(
            request, "limit", KV_LIST_LIMIT_MAX, KV_LIST_LIMIT_MIN, KV_LIST_LIMIT_MAX
        )
        page = self._kv.list_page(
            namespace_id,
            prefix=request.parameters.get("prefix", ""),
            limit=limit,
            cursor=request.parameters.get("cursor", ""),
        )
        return success(
            [_key_object(pair) for pair in page.entries],
            result_info={"count": len(page.entries), "cursor": page.cursor},
        )

    def read_value(self, _: Request, namespace_id: str, key: str) -> Response:
        """The raw bytes, in no envelope."""
        pair = self._pair(namespace_id, key)
        headers = {} if pair.expiration is None else {"expiration": str(pair.expiration)}
        return Response(200, pair.value, "application/octet-stream", headers)

    def write_value(self, request: Request, namespace_id: str, key: str) -> Response:
        """Write one entry: the raw body, or multipart with `value` and `metadata`."""
        self._kv.namespace(namespace_id)
        value, metadata = _value_and_metadata(request)
        pair = KvPair(
            key=check_key(key),
            value=check_value(value),
            metadata=check_metadata(metadata),
            expiration=check_expiry(
                _seconds(request, "expiration"),
                _seconds(request, "expiration_ttl"),
                now=self._clock.now(),
            ),
        )
        self._kv.write(namespace_id, pair)
        return success(None)

    def delete_value(self, _: Request, namespace_id: str, key: str) -> Response:
        """Delete one entry; absent is no error."""
        self._kv.namespace(namespace_id)
        self._kv.remove(namespace_id, check_key(key))
        return success(None)

    def read_metadata(self, _: Request, namespace_id: str, key: str) -> Response:
        """The entry's metadata, null without any."""
        return success(_fragment(self._pair(namespace_id, key).metadata))

    def _pair(self, namespace_id: str, key: str) -> KvPair:
        self._kv.namespace(namespace_id)
        pair = self._kv.read(namespace_id, check_key(key))
        if pair is None:
            raise key_not_found()
        return pair


def _namespace_object(namespace: KvNamespace) -> dict[str, Any]:
    return {
        "id": namespace.namespace_id,
        "title": namespace.title,
        "supports_url_encoding": True,
    }


def _ordered(namespaces: Iterable[KvNamespace], order: str, direction: str) -> list[KvNamespace]:
    if order not in {"id", "title"} or direction not in {"asc", "desc"}:
        raise invalid_kv("order must be id or title, direction asc or desc")
    return sorted(
        namespaces,
        key=lambda one: one.title if order == "title" else one.namespace_id,
        reverse=direction == "desc",
    )


def _title(request: Request) -> Any:
    body = request.json(invalid_kv(_BAD_BODY))
    return body.get("title") if isinstance(body, dict) else None


def _key_object(pair: KvPair) -> dict[str, Any]:
    members: dict[str, Any] = {"name": pair.key}
    if pair.metadata is not None:
        members["metadata"] = _fragment(pair.metadata)
    return _with_expiration(members, pair.expiration)


def _with_expiration(members: dict[str, Any], expiration: int | None) -> dict[str, Any]:
    return members if expiration is None else members | {"expiration": expiration}


def _value_object(pair: KvPair, kind: str) -> Any:
    try:
        text = pair.value.decode()
        return orjson.loads(text) if kind == "json" else text
    except ValueError as error:
        raise invalid_kv(f"the value of a key is not {kind}") from error


def _fragment(metadata: bytes | None) -> Any:
    return None if metadata is None else orjson.Fragment(metadata)


def _value_and_metadata(request: Request) -> tuple[bytes, object]:
    if request.content_type != "multipart/form-data":
        return bytes(request.body), None
    refusal = invalid_kv("expected multipart/form-data with a part named value")
    parts = parse_form(request.body, request.headers["content-type"], refusal=refusal)
    if "value" not in parts:
        raise refusal
    metadata = parts.get("metadata", b"null")
    try:
        return parts["value"], orjson.loads(metadata or b"null")
    except ValueError as error:
        raise invalid_kv("metadata is not valid JSON") from error


def _seconds(request: Request, name: str) -> int | None:
    given = request.parameters.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= _DIGITS_MAX):
        raise invalid_kv(f"{name} is a whole number of seconds")
    return int(given)


def _whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    given = request.parameters.get(name, str(default))
    number = int(given) if given.isascii() and given.isdigit() and len(given) < _DIGITS_MAX else -1
    if not least <= number <= most:
        raise invalid_kv(f"{name} must be in the range [{least}, {most}]")
    return int(given)
