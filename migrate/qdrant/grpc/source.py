"""Read a Qdrant collection over gRPC, through the stubs that qdrant-client ships.

The stubs are called directly, because the client's own conversion of records takes ten times as
long as the decoding. The collection's description is read over gRPC too (`Collections.Get`), so a
server whose REST port is closed can be read; `info.py` converts it to the shape of REST.
"""

import re
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from migrate.errors import AccessError, PreconditionError, UnreadablePointError
from migrate.model.records import Page, PointId, ShardKey, VectorSpec, decode_shard_key
from migrate.ports import Clock
from migrate.qdrant import filters
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.first_contact import FirstContact, client_refused
from migrate.qdrant.grpc.info import describe
from migrate.qdrant.grpc.messages import wire
from migrate.qdrant.grpc.records import decode_ids, decode_named, decode_page, encode_id
from migrate.qdrant.protocol_probe import Spoken
from migrate.qdrant.retry import (
    CollectionMissing,
    ForeignAnswer,
    PageRefusal,
    PassingFailure,
    quote_words,
    read_retry_after,
)
from migrate.qdrant.source import ServerOptions, ServerSource
from migrate.transport.trust import distrust_remedy, is_client_refused, read_authorities

if TYPE_CHECKING:
    from migrate.qdrant.rest.single_point import RestFallback

VALUE_BYTES = 4
# One bit for each algorithm that is announced (grpc_compression_algorithm): 0 identity, 2 gzip.
ANNOUNCED = {"identity": 0b001, "gzip": 0b101}
SCROLL = "/qdrant.Points/Scroll"
GET = "/qdrant.Points/Get"
LIMIT_MAX = 2**32 - 1
# The texts of the library for an answer without a gRPC status, such as an HTML page.
HTTP_STATUS = re.compile(r"http2 header with status: (\d{3})", re.IGNORECASE)
WITHOUT_STATUS = ("No status received", "Data frame with END_STREAM flag received")
DISTRUST = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")
# A message beyond a limit of this process, of the server's encoder, or of a proxy.
TOO_LARGE = re.compile(r"(?i)message (larger than max|length too large)")
REFUSED = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.UNIMPLEMENTED,
}


class GrpcSource(ServerSource):
    """`ports.PointSource` over gRPC."""

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
        transport = GrpcTransport(
            address, collection=collection, api_key=api_key, clock=clock, options=options
        )
        super().__init__(transport, collection=collection, clock=clock, options=options)
        self._grpc = transport

    @override
    def read_otherwise(self, error: UnreadablePointError, vectors: Sequence[VectorSpec]) -> Page:
        """Read a point over REST. Raises UnreadablePointError if REST cannot read it either."""
        return self._grpc.rest_fallback().read_point(error, vectors)


class GrpcTransport:
    """Single requests over gRPC; see `migrate.qdrant.transport.Transport`."""

    kind = "grpc"
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
        self.url, self.urls = address.grpc_url, address.urls
        self._host = address.grpc_host
        self._address = address
        self._rest_fallback: RestFallback | None = None
        self._whole = self  # of a view for one shard key: what it is a view of
        self.selector: wire.ShardKeySelector | None = None
        self._collection = collection
        self._clock = clock
        self._options = options
        self._api_key = api_key
        self._metadata = [("x-qdrant-route-affinity", f"q2v-{options.jitter.getrandbits(64):016x}")]
        if api_key is not None:
            self._metadata.append(("api-key", api_key))
        self._contact = FirstContact(address, address.grpc_port, Spoken.HTTP2, options)
        wanted = options.filter
        self._filter_message = None if wanted is None else filters.encode_for_grpc(wanted)
        self._channel = _open_channel(address, options)
        self._points = wire.PointsStub(self._channel)  # type: ignore[no-untyped-call]
        self._collections = wire.CollectionsStub(self._channel)  # type: ignore[no-untyped-call]
        self._server = wire.QdrantStub(self._channel)  # type: ignore[no-untyped-call]
        # Without the stub's deserializer: `records.py` parses the bytes.
        self._fetch_scroll = self._channel.unary_unary(
            SCROLL, request_serializer=wire.ScrollPoints.SerializeToString
        )
        self._fetch_points = self._channel.unary_unary(
            GET, request_serializer=wire.GetPoints.SerializeToString
        )

    def fetch_version(self) -> str | None:
        """`Qdrant.HealthCheck`, which needs no key."""
        answer = self._send(self._server.HealthCheck, wire.HealthCheckRequest())
        return answer.version or None

    def fetch_collection(self) -> dict[str, object]:
        """`Collections.Get`."""
        request = wire.GetCollectionInfoRequest(collection_name=self._collection)
        return describe(self._send(self._collections.Get, request).result)

    def fetch_cluster(self) -> dict[str, object]:
        """`Collections.CollectionClusterInfo`."""
        request = wire.CollectionClusterInfoRequest(collection_name=self._collection)
        return describe(self._send(self._collections.CollectionClusterInfo, request))

    def fetch_collection_names(self) -> list[str]:
        """`Collections.List`."""
        answer = self._send(self._collections.List, wire.ListCollectionsRequest())
        return [entry.name for entry in answer.collections]

    def fetch_count(self, *, whole: bool = False) -> int:
        """`Points.Count`, exact; of all points if `whole`."""
        request = wire.CountPoints(
            collection_name=self._collection, exact=True, shard_key_selector=self.selector
        )
        send = self._send if whole else self._send_filtered
        return int(send(self._points.Count, request).result.count)

    def fetch_ids(self, start: PointId | None, limit: int) -> tuple[Sequence[PointId], int]:
        """`Points.Scroll` for ids alone."""
        answer = self._scroll(start, limit, payload=False, vectors=False)
        try:
            return decode_ids(answer), len(answer)
        except ValueError as error:
            raise PassingFailure(f"{self.url}: {error}") from error

    def fetch_points(
        self, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> tuple[Page, int]:
        """`Points.Scroll` for whole points; without `vectors` for ids and payloads."""
        answer = self._scroll(start, limit, payload=True, vectors=bool(vectors))
        try:
            page, doubts = decode_page(answer, vectors)
        except ValueError as error:
            raise PassingFailure(f"{self.url}: {error}") from error
        return self.rest_fallback().amend(page, doubts) if doubts else page, len(answer)

    def fetch_named(self, ids: Sequence[PointId], vectors: Sequence[VectorSpec]) -> Page:
        """`Points.Get`: the points with these ids; absent ones are left out."""
        request = wire.GetPoints(
            collection_name=self._collection,
            ids=list(map(encode_id, ids)),
            with_payload=wire.WithPayloadSelector(enable=True),
            with_vectors=wire.WithVectorsSelector(enable=bool(vectors)),
            shard_key_selector=self.selector,
        )
        answer = self._send(self._fetch_points, request)
        try:
            page, doubts = decode_named(answer, vectors)
        except ValueError as error:
            raise PassingFailure(f"{self.url}: {error}") from error
        return self.rest_fallback().amend(page, doubts) if doubts else page

    def rest_fallback(self) -> "RestFallback":
        """REST of the same server, for payloads that gRPC cannot carry. Opened when needed."""
        if self._whole is not self:
            return self._whole.rest_fallback()
        if self._rest_fallback is None:
            from migrate.qdrant.rest.single_point import RestFallback  # noqa: PLC0415 - as needed

            self._rest_fallback = RestFallback(
                self._address,
                collection=self._collection,
                api_key=self._api_key,
                clock=self._clock,
                options=self._options,
            )
        return self._rest_fallback

    def under_key(self, key: ShardKey) -> "GrpcTransport":
        """The same connections, for the points under one shard key."""
        raw = decode_shard_key(key)
        one = wire.ShardKey(keyword=raw) if isinstance(raw, str) else wire.ShardKey(number=raw)
        view = copy(self)
        view.selector = wire.ShardKeySelector(shard_keys=[one])
        return view

    def close(self) -> None:
        """Close the channel. Calling it again does nothing."""
        self._channel.close()
        if self._rest_fallback is not None:
            self._rest_fallback.close()

    def _scroll(self, start: PointId | None, limit: int, *, payload: bool, vectors: bool) -> bytes:
        request = wire.ScrollPoints(
            collection_name=self._collection,
            limit=min(limit, LIMIT_MAX),
            offset=encode_id(start) if start is not None else None,
            with_payload=wire.WithPayloadSelector(enable=payload),
            with_vectors=wire.WithVectorsSelector(enable=vectors),
            shard_key_selector=self.selector,
        )
        answer: bytes = self._send_filtered(self._fetch_scroll, request)
        return answer

    def _send_filtered(self, method: Callable[..., Message], request: Any) -> Any:
        """The answer to a request for the points that match the filter."""
        wanted = self._options.filter
        if wanted is None:
            return self._send(method, request)
        request.filter.CopyFrom(self._filter_message)
        try:
            return self._send(method, request)
        except (PreconditionError, PageRefusal) as refusal:
            raise wanted.judge(refusal) from refusal

    def _send(self, method: Callable[..., Message], request: Message) -> Any:
        try:
            answer = method(request, timeout=self._options.total_s, metadata=self._metadata)
        except grpc.RpcError as error:
            page = _read_page(error.details() or "")
            if page is not None:
                what = f"something other than Qdrant answered for {self.url}: {page}"
                raise self._contact.judge(ForeignAnswer(what)) from error
            raise self._contact.judge(self._judge(error)) from error
        self._contact.answered()
        return answer

    def _judge(self, error: grpc.RpcError) -> Exception:
        """What a status other than OK means for a read."""
        code = error.code()
        details = error.details() or ""
        said = quote_words(details, secret=self._api_key)
        what = f"{self.url} answered {code.name}: {said}"
        if any(sign in details for sign in DISTRUST):
            return AccessError(
                f"{self.url}: the server's certificate is not trusted: {said}",
                remedy=distrust_remedy(self._host),
            )
        if is_client_refused(details):
            return client_refused(self.url, said)
        if TOO_LARGE.search(details):
            return PageRefusal(self._too_large(details, what))
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return self._exhausted(error, what)
        if code in REFUSED:
            return _refusal(code, what, details)
        return PassingFailure(what, timed_out=code is grpc.StatusCode.DEADLINE_EXCEEDED)

    def _too_large(self, details: str, what: str) -> str:
        """The message for a limit: our own, whose number is in the library's text, or another."""
        bound = self._options.body_bytes_max
        if f"vs. {bound})" in details or "ecompressed message larger" in details:
            return (
                f"{self.url} answers with more than {bound:,} bytes, the most that q2v itself "
                f"takes of one answer ({quote_words(details, secret=self._api_key)})"
            )
        return what

    def _exhausted(self, error: grpc.RpcError, what: str) -> Exception:
        """The failure for too many requests, with the wait that the server asks for, if any."""
        trailing = dict(error.trailing_metadata() or ())
        wait_s = read_retry_after(
            trailing.get("retry-after"), date=trailing.get("date"), clock=self._clock
        )
        return PassingFailure(what, wait_s=wait_s, throttled=True)


def _read_page(details: str) -> str | None:
    """A description of an answer that is not gRPC; None for a gRPC answer."""
    status = HTTP_STATUS.search(details)
    if status is not None:
        return f"HTTP {status[1]} without a gRPC status, as a proxy answers"
    if any(sign in details for sign in WITHOUT_STATUS):
        return "an answer without a gRPC status, as a proxy or a login page gives it"
    return None


def _refusal(code: grpc.StatusCode, what: str, details: str) -> Exception:
    """The error for a status that a retry of the same request cannot change."""
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return AccessError(what, remedy="set QDRANT_API_KEY to a key that may read this collection")
    if code is grpc.StatusCode.NOT_FOUND:
        return CollectionMissing(what)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return PreconditionError(
            what,
            remedy="the server at this port speaks gRPC, but not Qdrant's: correct host and port "
            'in source.url, or set source.transport = "rest"',
        )
    if "limit" in details.lower():
        return PageRefusal(what, for_good=True)
    return PreconditionError(
        what, remedy="see what the server says; the same request cannot succeed"
    )


def _open_channel(address: ServerAddress, options: ServerOptions) -> grpc.Channel:
    line = address.line(options.ca_file, options.client, grpc=True)
    settings = [
        # The library's default of 4 MB is less than one page; beyond our limit a page is halved.
        ("grpc.max_receive_message_length", options.body_bytes_max),
        ("grpc.max_send_message_length", -1),
        # Our retries have their own waits; gRPC's longer back-off would hide the server's recovery.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", int(options.connect_s * 1000)),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_retries", 0),
        ("grpc.compression_enabled_algorithms_bitset", ANNOUNCED[options.compression]),
        # A proxy named in the environment must not read requests in plain text.
        ("grpc.enable_http_proxy", int(line.tls and not line.loopback)),
    ]
    if not line.tls:
        return grpc.insecure_channel(address.grpc_target, options=settings)
    roots = read_authorities(options.ca_file)  # the library's own list ignores SSL_CERT_FILE
    chain, key = (None, None) if options.client is None else options.client.read()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=roots, private_key=key, certificate_chain=chain
    )
    return grpc.secure_channel(address.grpc_target, credentials, options=settings)
