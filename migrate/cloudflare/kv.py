"""`ports.KvTarget` by the Workers KV REST interface (docs/services.md)."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

import orjson

from migrate.cloudflare.client.api import (
    JSON,
    Answer,
    ApiRequest,
    Operation,
    Outcome,
    Oversized,
    Refusal,
)
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.client.codes import NO_KV_NAMESPACE_CODE
from migrate.cloudflare.kv_answers import (
    KeyPage,
    encode_bulk_write,
    needs_raw_reading,
    read_bulk_result,
    read_keys,
    read_metadata,
    read_values,
)
from migrate.errors import IndeterminateError
from migrate.model.limits import (
    KV_KEYS_PER_DELETE_MAX,
    KV_LIST_KEYS_MAX,
    KV_PAIRS_PER_WRITE_MAX,
    KV_READ_KEYS_MAX,
    KV_WRITE_BYTES_MAX,
)
from migrate.model.records import KvEntry

Item = TypeVar("Item")
READ = "Workers KV Storage: Read"
EDIT = "Workers KV Storage: Edit"
BULK_WRITE = Operation(name="KV bulk write", scope=EDIT)
BULK_DELETE = Operation(name="KV bulk delete", scope=EDIT)
BULK_READ = Operation(name="KV bulk read", scope=READ)
READ_VALUE = Operation(name="KV read value", scope=READ)
READ_METADATA = Operation(name="KV read metadata", scope=READ)
LIST_KEYS = Operation(name="KV list keys", scope=READ)

EMPTY_PAGES_MAX = 1_000  # in a row; deleted keys cause empty pages, but only some
# The answer to an invalid cursor is not documented.
CURSOR_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
BULK_READ_REFUSALS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class WorkersKvTarget:
    """One KV namespace. Safe to use from several threads."""

    def __init__(self, http: CloudflareHttp, namespace_id: str) -> None:
        """Sends nothing."""
        self._http = http
        self._namespace_id = namespace_id
        self._bulk_bytes_max = KV_WRITE_BYTES_MAX  # smaller after a 413
        self._lock = threading.Lock()  # guards `_bulk_bytes_max`

    def identity(self) -> dict[str, str]:
        """Host, account fingerprint and namespace id, without secrets."""
        return {**self._http.identity(), "kv_namespace": self._namespace_id}

    def service_wall_s(self) -> float | None:
        """The service's clock now, in seconds since 1970; None before the first answer."""
        return self._http.service_wall_s()

    def write(self, entries: Sequence[KvEntry]) -> list[str]:
        """Write the entries; returns the keys that did not succeed.

        Sends one bulk write, or several where the service or a proxy only takes smaller bodies.
        """
        keys = [entry.key for entry in entries]
        assert 0 < len(keys) <= KV_PAIRS_PER_WRITE_MAX
        assert len(set(keys)) == len(keys)
        body = encode_bulk_write(entries)
        if len(body) > self._bulk_bytes_max and len(entries) > 1:
            return self._in_halves(self.write, entries)
        request = self._request(BULK_WRITE, "PUT", "bulk", body=body)
        outcome = self._http.exchange(request, partial(read_bulk_result, sent=keys))
        if self._is_too_large(outcome, len(body)) and len(entries) > 1:
            return self._in_halves(self.write, entries)
        return self._http.value_of(BULK_WRITE, outcome)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Remove the keys; returns those that did not succeed. Splits requests as `write` does."""
        assert 0 < len(keys) <= KV_KEYS_PER_DELETE_MAX
        assert len(set(keys)) == len(keys)
        body = orjson.dumps(keys)
        if len(body) > self._bulk_bytes_max and len(keys) > 1:
            return self._in_halves(self.delete, keys)
        request = self._request(BULK_DELETE, "POST", "bulk", "delete", body=body)
        outcome = self._http.exchange(request, partial(read_bulk_result, sent=keys))
        if self._is_too_large(outcome, len(body)) and len(keys) > 1:
            return self._in_halves(self.delete, keys)
        return self._http.value_of(BULK_DELETE, outcome)

    def _is_too_large(self, outcome: Outcome[list[str]], body_bytes: int) -> bool:
        """Whether a bulk body was refused with 413; later bodies are then at most half as large."""
        if not isinstance(outcome, Refusal):
            return False
        if outcome.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return False
        with self._lock:  # answers of several threads arrive in any order
            self._bulk_bytes_max = min(self._bulk_bytes_max, max(1, body_bytes // 2))
        return True

    def _in_halves(
        self, send: Callable[[Sequence[Item]], list[str]], items: Sequence[Item]
    ) -> list[str]:
        half = len(items) // 2
        return [*send(items[:half]), *send(items[half:])]

    def list_keys(self, prefix: str) -> Iterator[KvEntry]:
        """Every key under the prefix. Complete only if the iterator ends without an error."""
        cursors: set[str] = set()
        first_keys: set[str] = set()
        cursor: str | None = None
        empty_pages = 0
        while empty_pages <= EMPTY_PAGES_MAX:
            page = self._list_page(prefix, cursor)
            if page.entries and page.entries[0].key in first_keys:
                raise _broken_listing("a page came twice")
            first_keys.update(entry.key for entry in page.entries[:1])
            yield from page.entries
            cursor = page.next_cursor
            if cursor is None:
                return
            if cursor in cursors:
                raise _broken_listing("it came back to an earlier page")
            cursors.add(cursor)
            empty_pages = 0 if page.entries else empty_pages + 1
        raise _broken_listing(f"{empty_pages} empty pages in a row")

    def read(self, keys: Iterable[str]) -> dict[str, KvEntry]:
        """The entries that exist, 100 keys a request, fewer where the values are large."""
        found: dict[str, KvEntry] = {}
        waiting = iter(dict.fromkeys(keys))
        while some := list(islice(waiting, KV_READ_KEYS_MAX)):
            found |= self._read_some(some)
        return found

    def _list_page(self, prefix: str, cursor: str | None) -> KeyPage:
        # The prefix is sent with every page: the cursor does not hold it.
        query = {"limit": str(KV_LIST_KEYS_MAX)}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"cursor": cursor} if cursor is not None else {}
        request = self._request(LIST_KEYS, "GET", "keys", query=query)
        outcome = self._http.exchange(request, partial(read_keys, prefix=prefix))
        if (
            isinstance(outcome, Refusal)
            and cursor is not None
            and outcome.status in CURSOR_REFUSALS
            and outcome.code != NO_KV_NAMESPACE_CODE
        ):
            error = self._http.refused(LIST_KEYS, outcome)
            raise _broken_listing(f"its cursor is no longer valid: {error}") from error
        return self._http.value_of(LIST_KEYS, outcome)

    def _read_some(self, keys: Sequence[str]) -> dict[str, KvEntry]:
        """Read at most 100 keys. A request that cannot be answered is split in halves."""
        body = orjson.dumps({"keys": keys, "type": "text", "withMetadata": True})
        request = self._request(BULK_READ, "POST", "bulk", "get", body=body)
        outcome = self._http.exchange(request, partial(read_values, wanted=keys))
        # The answer is too large, or the service does not return one of the values as text.
        if isinstance(outcome, Oversized) or (
            isinstance(outcome, Refusal)
            and outcome.status in BULK_READ_REFUSALS
            and outcome.code != NO_KV_NAMESPACE_CODE
        ):
            if len(keys) == 1:
                return self._read_alone(keys[0])
            half = len(keys) // 2
            return self._read_some(keys[:half]) | self._read_some(keys[half:])
        found = self._http.value_of(BULK_READ, outcome)
        for key, entry in list(found.items()):
            if needs_raw_reading(entry):
                value = self._read_raw(key)
                if value is None:
                    del found[key]  # deleted since the bulk read
                else:
                    found[key] = KvEntry(key=key, value=value, metadata=entry.metadata)
        return found

    def _read_alone(self, key: str) -> dict[str, KvEntry]:
        """Value and metadata of one key, each from its own endpoint."""
        value = self._read_raw(key)
        if value is None:
            return {}
        request = self._request(READ_METADATA, "GET", "metadata", key)
        metadata = self._http.send(request, read_metadata)
        return {key: KvEntry(key=key, value=value, metadata=metadata)}

    def _read_raw(self, key: str) -> bytes | None:
        """The exact bytes of one value; None when the key does not exist."""
        request = self._request(READ_VALUE, "GET", "values", key)
        outcome = self._http.exchange(request, _take_body, raw=True)
        if (
            isinstance(outcome, Refusal)
            and outcome.status == HTTPStatus.NOT_FOUND
            and outcome.code != NO_KV_NAMESPACE_CODE
        ):
            return None
        return self._http.value_of(READ_VALUE, outcome)

    def _request(
        self,
        operation: Operation,
        method: str,
        *segments: str,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> ApiRequest:
        return ApiRequest(
            operation=operation,
            method=method,
            path=self._http.account_path(
                "storage", "kv", "namespaces", self._namespace_id, *segments
            ),
            query=query or {},
            body=() if body is None else (body,),
            content_type=None if body is None else JSON,
        )


def _take_body(answer: Answer) -> bytes:
    return answer.body


def _broken_listing(why: str) -> IndeterminateError:
    return IndeterminateError(
        f"the listing of KV keys is not complete: {why}",
        remedy="run the same command again: a fresh listing starts from its first page",
    )
