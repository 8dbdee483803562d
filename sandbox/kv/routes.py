"""Routes of KV entries: each calls the store and answers with the result."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from sandbox.clock import Clock
from sandbox.errors import invalid_kv, key_not_found
from sandbox.exchange.answers import page, success
from sandbox.exchange.operation import Call, Operation
from sandbox.exchange.steps import THREAD_BYTES_MIN, Steps
from sandbox.kv.namespace_routes import BAD_BODY, NAMESPACE
from sandbox.kv.rules import (
    KV_INSTANT,
    ORDINARY,
    KvLimits,
    KvPair,
    check_expiry,
    check_key,
    check_metadata,
    check_pair,
    parse_keys,
    parse_pairs,
)
from sandbox.limits import (
    BODY_BYTES_MAX,
    KV_LIST_LIMIT_MAX,
    KV_LIST_LIMIT_MIN,
    KV_READ_BYTES_MAX,
    KV_READ_KEYS_MAX,
)
from sandbox.store import SandboxStore

_DIGITS_MAX = 12  # no number in a query string is longer
_GROUP_BYTES_MAX = 2_000_000  # of a bulk write, taken at once: a few milliseconds
_GROUP_PAIRS_MAX = 100


class KvRoutes:
    """One method per operation."""

    def __init__(self, store: SandboxStore, clock: Clock) -> None:
        self._kv = store.kv
        self._clock = clock

    def routes(self) -> list[Operation]:
        """All of them."""
        namespace, value = NAMESPACE, NAMESPACE + "/values/{key}"
        write, bulk, read, large = "kv-write", "kv-bulk", "kv-read", BODY_BYTES_MAX
        return [
            Operation("PUT", namespace + "/bulk", self.write_bulk, bulk, large),
            Operation("DELETE", namespace + "/bulk", self.delete_bulk, bulk, large),
            Operation("POST", namespace + "/bulk/delete", self.delete_bulk, bulk, large),
            Operation("POST", namespace + "/bulk/get", self.read_bulk, read),
            Operation("GET", namespace + "/keys", self.list_keys, read),
            Operation("GET", value, self.read_value, read),
            Operation("PUT", value, self.write_value, write, large),
            Operation("DELETE", value, self.delete_value, write),
            Operation("GET", namespace + "/metadata/{key}", self.read_metadata, read),
        ]

    # Bulk -----------------------------------------------------------------------------------

    def write_bulk(self, call: Call, namespace_id: str) -> Steps:
        """Write up to 10,000 entries; some may be left out and named."""
        now = self._clock.now()

        def parse() -> list[tuple[str, KvPair | None]]:
            return [(pair.key, pair) for pair in parse_pairs(call.body, now=now)]

        return self._bulk(call, namespace_id, parse)

    def delete_bulk(self, call: Call, namespace_id: str) -> Steps:
        """Delete up to 10,000 keys; some may be left out and named."""

        def parse() -> list[tuple[str, KvPair | None]]:
            return [(key, None) for key in dict.fromkeys(parse_keys(call.body))]

        return self._bulk(call, namespace_id, parse)

    def _bulk(
        self,
        call: Call,
        namespace_id: str,
        parse: Callable[[], Sequence[tuple[str, KvPair | None]]],
    ) -> Steps:
        """Write the pairs group by group; a kill in between leaves some of them written."""
        pairs = (yield parse) if len(call.body) >= THREAD_BYTES_MIN else parse()
        limits = self._limits(namespace_id)
        written = [check_pair(pair, limits).key for _, pair in pairs if pair is not None]
        self._kv.check_instant(namespace_id, written)
        partial = self._kv.partial_by_chance() or "kv-partial" in call.struck
        left_out: list[str] = []
        for first, end in _groups(pairs):
            if first:
                yield None
            left_out += self._kv.write_some(
                namespace_id, pairs[first:end], first=first, partial=partial
            )
        return success(
            {
                "successful_key_count": len(pairs) - len(left_out),
                "unsuccessful_keys": left_out,
            }
        )

    def read_bulk(self, call: Call, namespace_id: str) -> Response:
        """Read up to 100 values; null for an absent one."""
        self._kv.namespaces.get(namespace_id)
        body = call.json(invalid_kv(BAD_BODY))
        keys = body.get("keys") if isinstance(body, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= KV_READ_KEYS_MAX:
            raise invalid_kv(f"keys must be a list of 1 to {KV_READ_KEYS_MAX} keys")
        kind, with_metadata = body.get("type", "text"), body.get("withMetadata", False)
        if kind not in ("text", "json") or not isinstance(with_metadata, bool):
            raise invalid_kv("type must be text or json, withMetadata a boolean")

        total = 0

        def value_object(key: str) -> Any:
            nonlocal total
            pair = self._kv.read(namespace_id, key)
            if pair is None:
                return None
            total += len(pair.value)
            if total > KV_READ_BYTES_MAX:
                raise invalid_kv("Total size of request exceeds the limit of 25MB", status=413)
            value = _value_object(pair, kind)
            if not with_metadata:
                return value
            return _with_expiration(
                {"value": value, "metadata": _fragment(pair.metadata)}, pair.expiration
            )

        return success({"values": {key: value_object(key) for key in map(check_key, keys)}})

    # Keys -----------------------------------------------------------------------------------

    def list_keys(self, call: Call, namespace_id: str) -> Response:
        """A page of keys; it may be empty and still not the last."""
        self._kv.namespaces.get(namespace_id)
        limit = call.number(
            "limit", KV_LIST_LIMIT_MAX, least=KV_LIST_LIMIT_MIN, most=KV_LIST_LIMIT_MAX
        )
        listed = self._kv.list_page(
            namespace_id,
            prefix=call.parameters.get("prefix", ""),
            limit=limit,
            cursor=call.parameters.get("cursor", ""),
        )
        return success(
            [_key_object(pair) for pair in listed.entries],
            result_info={"count": len(listed.entries), "cursor": listed.cursor},
        )

    def read_value(self, _: Call, namespace_id: str, key: str) -> Response:
        """The raw bytes, in no envelope."""
        pair = self._pair(namespace_id, key)
        headers = {} if pair.expiration is None else {"expiration": str(pair.expiration)}
        return page(200, pair.value, "application/octet-stream", headers=headers)

    def write_value(self, call: Call, namespace_id: str, key: str) -> Response:
        """Write one entry: the raw body, or multipart with `value` and `metadata`."""
        limits = self._limits(namespace_id)
        value, metadata = _value_and_metadata(call)
        pair = KvPair(
            key=check_key(key),
            value=value,
            metadata=check_metadata(metadata),
            expiration=check_expiry(
                _seconds(call, "expiration"),
                _seconds(call, "expiration_ttl"),
                now=self._clock.now(),
            ),
        )
        self._kv.write(namespace_id, check_pair(pair, limits))
        return success(None)

    def delete_value(self, _: Call, namespace_id: str, key: str) -> Response:
        """Delete one entry; absent is no error."""
        self._kv.namespaces.get(namespace_id)
        self._kv.remove(namespace_id, check_key(key))
        return success(None)

    def read_metadata(self, _: Call, namespace_id: str, key: str) -> Response:
        """The entry's metadata, null without any."""
        return success(_fragment(self._pair(namespace_id, key).metadata))

    def _limits(self, namespace_id: str) -> KvLimits:
        return KV_INSTANT if self._kv.namespaces.get(namespace_id).is_instant else ORDINARY

    def _pair(self, namespace_id: str, key: str) -> KvPair:
        self._kv.namespaces.get(namespace_id)
        pair = self._kv.read(namespace_id, check_key(key))
        if pair is None:
            raise key_not_found()
        return pair


def _groups(pairs: Sequence[tuple[str, KvPair | None]]) -> Iterator[tuple[int, int]]:
    """Where each group begins and ends: few pairs, and few bytes where values are large."""
    first = size = 0
    for end, (_, pair) in enumerate(pairs):
        size += 0 if pair is None else len(pair.value)
        if end > first and (end - first == _GROUP_PAIRS_MAX or size > _GROUP_BYTES_MAX):
            yield first, end
            first, size = end, 0 if pair is None else len(pair.value)
    yield first, len(pairs)


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


def _value_and_metadata(call: Call) -> tuple[bytes, object]:
    if call.content_type != "multipart/form-data":
        return bytes(call.body), None
    refusal = invalid_kv("expected multipart/form-data with a part named value")
    parts = call.form(refusal)
    if "value" not in parts:
        raise refusal
    metadata = parts.get("metadata", b"null")
    try:
        return parts["value"], orjson.loads(metadata or b"null")
    except ValueError as error:
        raise invalid_kv("metadata is not valid JSON") from error


def _seconds(call: Call, name: str) -> int | None:
    given = call.parameters.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= _DIGITS_MAX):
        raise invalid_kv(f"{name} is a whole number of seconds")
    return int(given)
