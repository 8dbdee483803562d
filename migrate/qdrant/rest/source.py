"""Read a Qdrant collection over REST."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import cast
from urllib.parse import quote

import httpx
import orjson

from migrate.errors import AccessError, PreconditionError, RemoteUnavailableError, UsageError
from migrate.model.canonical import decode_json
from migrate.model.records import Page, PointId, ShardKey, VectorSpec, decode_shard_key
from migrate.ports import Clock
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.first_contact import FirstContact, client_refused
from migrate.qdrant.protocol_probe import Spoken
from migrate.qdrant.rest.answer import is_result, read_error, show_words
from migrate.qdrant.rest.records import decode_ids, decode_named, decode_points
from migrate.qdrant.retry import (
    CollectionMissing,
    ForeignAnswer,
    PageRefusal,
    PassingFailure,
    quote_words,
    read_retry_after,
)
from migrate.qdrant.source import ServerOptions, ServerSource
from migrate.transport.deadline import Deadline, DeadlineTransport
from migrate.transport.trust import distrust_remedy, is_client_refused

VALUE_BYTES = 12  # shortest decimal of a float32 with its comma, on average
KEEP_IDLE_S = 4.0  # the server closes idle connections after 5 s


class RestSource(ServerSource):
    """`ports.PointSource` over REST."""

    def __init__(
        self,
        address: ServerAddress,
        *,
        collection: str,
        api_key: str | None,
        clock: Clock,
        options: ServerOptions | None = None,
    ) -> None:
        options = options or ServerOptions()
        transport = RestTransport(
            address, collection=collection, api_key=api_key, clock=clock, options=options
        )
        super().__init__(transport, collection=collection, clock=clock, options=options)


class RestTransport:
    """Single requests over REST; see `migrate.qdrant.transport.Transport`."""

    kind = "rest"
    value_bytes = VALUE_BYTES

    def __init__(
        self,
        address: ServerAddress,
        *,
        collection: str,
        api_key: str | None,
        clock: Clock,
        options: ServerOptions,
    ) -> None:
        address.check_key(api_key)
        address.check_client(options.client)
        self.url, self.urls = address.rest_url, address.urls
        self._path = f"/collections/{quote(collection, safe='')}"
        self._clock = clock
        self._options = options
        self._api_key = api_key
        self.shard_key: ShardKey | None = None
        self._host = address.host
        self._deadline = Deadline(clock)
        self._contact = FirstContact(address, address.rest_port, Spoken.HTTP, options)
        line = address.line(options.ca_file, options.client)
        headers = {
            "Accept-Encoding": options.compression,
            "x-qdrant-route-affinity": f"q2v-{options.jitter.getrandbits(64):016x}",
        }
        if api_key is not None:
            headers["api-key"] = api_key
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(options.read_s, connect=options.connect_s),
                transport=DeadlineTransport(line, self._deadline, keep_idle_s=KEEP_IDLE_S),
                follow_redirects=False,
                trust_env=False,  # the transport decides about proxies
            )
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.url}: {error}", remedy="correct source.url") from error

    def fetch_version(self) -> str | None:
        """The version in `GET /`, which needs no key."""
        try:
            version = _json_object(self._send("GET", "/", formed=False)).get("version")
        except ValueError:  # a proxy may serve its own page there
            return None
        return version if isinstance(version, str) else None

    def fetch_collection(self) -> dict[str, object]:
        """`GET /collections/{name}`."""
        return self._result("GET", self._path)

    def fetch_cluster(self) -> dict[str, object]:
        """`GET /collections/{name}/cluster`, which some keys may not read."""
        return self._result("GET", f"{self._path}/cluster")

    def fetch_collection_names(self) -> list[str]:
        """`GET /collections`."""
        found = self._result("GET", "/collections").get("collections")
        names = [entry.get("name") for entry in found] if isinstance(found, list) else []
        return [name for name in names if isinstance(name, str)]

    def fetch_count(self, *, whole: bool = False) -> int:
        """`POST .../points/count`, exact; of all points if `whole`."""
        path, request = f"{self._path}/points/count", {"exact": True, **self._selected()}
        body = self._send("POST", path, request) if whole else self._send_filtered(path, request)
        count = self._read_result(body).get("count")
        if not isinstance(count, int) or isinstance(count, bool):
            raise PassingFailure(f"{self.url} answered a count without a number")
        return count

    def fetch_ids(self, start: PointId | None, limit: int) -> tuple[Sequence[PointId], int]:
        """`POST .../points/scroll` for ids alone."""
        body = self._scroll(start, limit, payload=False, vectors=False)
        try:
            return decode_ids(body), len(body)
        except ValueError as error:
            raise self._garbled(body, error) from error

    def fetch_points(
        self, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> tuple[Page, int]:
        """`POST .../points/scroll` for whole points; without `vectors` for ids and payloads."""
        body = self._scroll(start, limit, payload=True, vectors=bool(vectors))
        try:
            return decode_points(body, vectors), len(body)
        except ValueError as error:
            raise self._garbled(body, error) from error

    def fetch_named(self, ids: Sequence[PointId], vectors: Sequence[VectorSpec]) -> Page:
        """`POST .../points`: the points with these ids, in any order; absent ones are left out.

        Without `vectors` the answer holds no vectors.
        """
        request = {
            "ids": [point_id.wire for point_id in ids],
            "with_payload": True,
            "with_vector": bool(vectors),
            **self._selected(),
        }
        body = self._send("POST", f"{self._path}/points", request)
        try:
            return decode_named(body, vectors)
        except ValueError as error:
            raise self._garbled(body, error) from error

    def send_write(self, method: str, suffix: str, request: Mapping[str, object]) -> None:
        """Change the collection; returns when the server has applied it.

        `suffix` follows the collection's path, as in "/points?wait=true".
        """
        self._send(method, self._path + suffix, request)

    def under_key(self, key: ShardKey) -> "RestTransport":
        """The same connections, for the points under one shard key."""
        view = copy(self)
        view.shard_key = key
        return view

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._client.close()

    def _selected(self) -> dict[str, object]:
        """The member of a request that names the shard key."""
        return {} if self.shard_key is None else {"shard_key": decode_shard_key(self.shard_key)}

    def _scroll(self, start: PointId | None, limit: int, *, payload: bool, vectors: bool) -> bytes:
        request: dict[str, object] = {
            "limit": limit,
            "with_payload": payload,
            "with_vector": vectors,
            **self._selected(),
        }
        if start is not None:
            request["offset"] = start.wire
        return self._send_filtered(f"{self._path}/points/scroll", request)

    def _send_filtered(self, path: str, request: Mapping[str, object]) -> bytes:
        """The body of the answer to a request for the points that match the filter."""
        wanted = self._options.filter
        if wanted is None:
            return self._send("POST", path, request)
        try:
            return self._send("POST", path, {**request, "filter": wanted.members})
        except (PreconditionError, PageRefusal) as refusal:
            raise wanted.judge(refusal) from refusal

    def _result(self, method: str, path: str) -> dict[str, object]:
        return self._read_result(self._send(method, path))

    def _read_result(self, body: bytes) -> dict[str, object]:
        try:
            result = _json_object(body).get("result")
        except ValueError as error:
            raise self._garbled(body, error) from error
        if not isinstance(result, dict):
            raise self._garbled(body, ValueError("no 'result' in the answer"))
        return cast(dict[str, object], result)

    def _garbled(self, body: bytes, error: ValueError) -> PassingFailure:
        said = show_words(body, self._api_key)
        return ForeignAnswer(f"{self.url} gave an answer that is not Qdrant's ({error}): '{said}'")

    def _send(
        self,
        method: str,
        path: str,
        request: Mapping[str, object] | None = None,
        *,
        formed: bool = True,
    ) -> bytes:
        """The body of one answer within the total deadline, which is a 200 in Qdrant's form.

        `formed` False accepts a 200 of any form.
        """
        content = None
        if request is not None:
            content = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"Content-Type": "application/json"} if request is not None else None
        try:
            with (
                self._deadline.within(self._options.total_s),
                self._client.stream(method, path, content=content, headers=headers) as response,
            ):
                body = self._read_body(response)
        except httpx.RequestError as error:
            raise self._contact.judge(self._translate(error)) from error
        if response.status_code != httpx.codes.OK:
            raise self._contact.judge(self._judge(response, body))
        if formed and not is_result(body):
            raise self._garbled(body, ValueError("no result, status and time in it"))
        self._contact.answered()
        return body

    def _read_body(self, response: httpx.Response) -> bytes:
        pieces = []
        size = 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > self._options.body_bytes_max:
                raise PageRefusal(
                    f"{self.url} answers with more than {self._options.body_bytes_max:,} bytes, "
                    "the most that q2v itself takes of one answer"
                )
        return b"".join(pieces)

    def _translate(self, error: httpx.RequestError) -> Exception:
        text = quote_words(str(error), secret=self._api_key) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return AccessError(
                f"{self.url}: the server's certificate is not trusted: {text}",
                remedy=distrust_remedy(self._host),
            )
        if is_client_refused(str(error)):
            return client_refused(self.url, text)
        if isinstance(error, httpx.TimeoutException):
            slow = not isinstance(error, httpx.ConnectTimeout)
            return PassingFailure(f"{self.url} is too slow: {text}", timed_out=slow)
        return PassingFailure(f"{self.url} cannot be reached: {text}")

    def _judge(self, response: httpx.Response, body: bytes) -> Exception:
        """What a status other than 200 means for a read."""
        status = response.status_code
        error = read_error(status, body)
        said = show_words(body if error is None else error.encode(), self._api_key)
        what = f"{self.url} answered {status} to {response.request.url.path}: {said}"
        failure: type[PassingFailure] = PassingFailure
        if error is None:
            failure = ForeignAnswer
            what = f"{self._stranger(response)} answered {status} for {self.url}: '{said}'"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait_s = read_retry_after(
                response.headers.get("Retry-After"),
                date=response.headers.get("Date"),
                clock=self._clock,
            )
            return failure(what, wait_s=wait_s, throttled=True)
        if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return failure(what, timed_out=status in {408, 504, 524})
        if response.is_redirect:
            return self._redirected(response)
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:  # also as a proxy's own page
            return PageRefusal(what)
        if response.is_success or error is None:
            return failure(what)
        return _refusal(status, what, said)

    def _stranger(self, response: httpx.Response) -> str:
        """A description of the server that answered instead of Qdrant, with its name if given."""
        name = quote_words(response.headers.get("Server", ""), secret=self._api_key)
        return "something other than Qdrant" + f" (it calls itself '{name}')" * bool(name)

    def _redirected(self, response: httpx.Response) -> Exception:
        """The error for a redirect; it names the address without its query, which may be secret."""
        target = quote_words(
            response.headers.get("Location", "").partition("?")[0], secret=self._api_key
        )
        return RemoteUnavailableError(
            f"{self.url} answered {response.status_code} and redirects to '{target}'",
            remedy="q2v follows no redirects, so that no other server gets the key: put the final "
            "address into source.url; if it is a login page, use an address without one",
        )


def _refusal(status: int, what: str, said: str) -> Exception:
    """The error for a status that a retry of the same request cannot change."""
    if status in {401, 403}:
        return AccessError(what, remedy="set QDRANT_API_KEY to a key that may read this collection")
    if status == httpx.codes.NOT_FOUND:
        return CollectionMissing(what)
    if status in {400, 422} and "limit" in said.lower():
        return PageRefusal(what, for_good=True)
    return PreconditionError(
        what, remedy="see what the server says; the same request cannot succeed"
    )


def _json_object(body: bytes) -> dict[str, object]:
    answer = decode_json(body)
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - bad data, not a bug
    return answer
