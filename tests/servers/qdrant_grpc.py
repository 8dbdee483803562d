"""A small server that speaks Qdrant's gRPC protocol over one `StoredCollection`, with faults.

    with grpc_server(collection, version="1.16.3") as server:  # before 1.17: the old layout
        server.faults.append(Abort(grpc.StatusCode.UNAVAILABLE))
        ... read from server.url ...

The services are the client package's own servicers; what they do not implement here would be a
write, is recorded in `collection.writes` and refused.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from qdrant_client import grpc as wire
from qdrant_client.conversions.conversion import GrpcToRest
from typing_extensions import override

from migrate.model.records import PointId
from tests.servers.qdrant_points import (
    AnyVector,
    Dense,
    Multi,
    NoShardKeyError,
    SparseValues,
    StoredCollection,
    StoredPoint,
)

NEW_LAYOUT_VERSION = (1, 17)
READS = {
    "/qdrant.Qdrant/HealthCheck",
    "/qdrant.Collections/Get",
    "/qdrant.Collections/List",
    "/qdrant.Collections/CollectionClusterInfo",
    "/qdrant.Points/Scroll",
    "/qdrant.Points/Count",
    "/qdrant.Points/Get",
}


@dataclass(frozen=True, kw_only=True)
class GrpcFault:
    """Applied to calls whose method name ends with `method`, `times` times."""

    method: str = "Scroll"
    times: int = 1


@dataclass(frozen=True)
class Abort(GrpcFault):
    """Refuse with this status and trailing metadata."""

    code: grpc.StatusCode
    details: str = "injected"
    trailing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stall(GrpcFault):
    """Do not answer; the server's end releases it."""


@dataclass(frozen=True)
class Raw(GrpcFault):
    """Answer with these bytes instead of a message."""

    answer: bytes


class GrpcServer:
    """The running server; made by `grpc_server`."""

    def __init__(self, collection: StoredCollection, version: str, api_key: str | None) -> None:
        self.collection = collection
        self.version = version
        self.api_key = api_key
        self.scheme = "http"
        self.port = 0
        self.faults: deque[GrpcFault] = deque()
        # Of a page that `collection.breaks`.
        self.page_failure: GrpcFault = Abort(grpc.StatusCode.INTERNAL)
        self.metadata: list[Mapping[str, str]] = []  # of every call
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._left: dict[int, int] = {}

    @property
    def url(self) -> str:
        """The url whose port is the gRPC port."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def new_layout(self) -> bool:
        """Whether this version sends `dense`, `sparse`, `multi_dense`."""
        major, minor = self.version.split(".")[:2]
        return (int(major), int(minor)) >= NEW_LAYOUT_VERSION

    def take_fault(self, method: str) -> GrpcFault | None:
        """The next fault for this method, counted down."""
        with self._lock:
            if not self.faults or not method.endswith(self.faults[0].method):
                return None
            fault = self.faults[0]
            left = self._left.get(id(fault), fault.times) - 1
            self._left[id(fault)] = left
            if left <= 0:
                self.faults.popleft()
            return fault


class _Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Log every call, check the key, refuse writes, apply faults."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        server, method = self._server, details.method
        metadata = {key: str(value) for key, value in details.invocation_metadata}
        server.collection.requests.append(method)
        server.metadata.append(metadata)
        if method not in READS:
            server.collection.writes.append(method)
            return _refuse(grpc.StatusCode.PERMISSION_DENIED, "this server is for reading", {})
        keyless = method.endswith("HealthCheck") or server.api_key is None
        if not keyless and metadata.get("api-key") != server.api_key:
            return _refuse(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key", {})
        fault = server.take_fault(method)
        if fault is None:
            return continuation(details)
        return self._apply(fault)

    def _apply(self, fault: GrpcFault) -> Any:
        match fault:
            case Abort():
                return _refuse(fault.code, fault.details, fault.trailing)
            case Raw():
                return grpc.unary_unary_rpc_method_handler(lambda _request, _context: fault.answer)
            case _:

                def stall(_request: bytes, _context: Any) -> bytes:
                    self._server.ending.wait(timeout=600)
                    return b""

                return grpc.unary_unary_rpc_method_handler(stall)


def _refuse(code: grpc.StatusCode, details: str, trailing: Mapping[str, str]) -> Any:
    def abort(_request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata(tuple(trailing.items()))
        context.abort(code, details)
        return b""

    return grpc.unary_unary_rpc_method_handler(abort)


class _Qdrant(wire.QdrantServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    @override
    def HealthCheck(self, request: Any, context: Any) -> wire.HealthCheckReply:
        title = "qdrant - vector search engine"
        return wire.HealthCheckReply(title=title, version=self._server.version)


class _Collections(wire.CollectionsServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    @override
    def Get(self, request: Any, context: Any) -> wire.GetCollectionInfoResponse:
        collection = _find(self._server.collection, request.collection_name, context)
        return wire.GetCollectionInfoResponse(result=encode_info(collection.describe()))

    @override
    def List(self, request: Any, context: Any) -> wire.ListCollectionsResponse:
        names = self._server.collection.names
        return wire.ListCollectionsResponse(
            collections=[wire.CollectionDescription(name=name) for name in names]
        )

    @override
    def CollectionClusterInfo(
        self, request: Any, context: Any
    ) -> wire.CollectionClusterInfoResponse:
        cluster = self._server.collection.cluster
        if cluster is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Global access is required")
            raise AssertionError
        transfers = cluster.get("shard_transfers", [])
        assert isinstance(transfers, list)
        return wire.CollectionClusterInfoResponse(
            shard_transfers=[wire.ShardTransferInfo(**transfer) for transfer in transfers],
            local_shards=[
                wire.LocalShardInfo(
                    shard_id=shard["shard_id"], state=_state(shard), shard_key=_shard_key(shard)
                )
                for shard in _shards(cluster, "local_shards")
            ],
            remote_shards=[
                wire.RemoteShardInfo(
                    shard_id=shard["shard_id"],
                    peer_id=2,
                    state=_state(shard),
                    shard_key=_shard_key(shard),
                )
                for shard in _shards(cluster, "remote_shards")
            ],
        )


def _shards(cluster: Mapping[str, object], key: str) -> list[dict[str, Any]]:
    shards = cluster.get(key, [])
    assert isinstance(shards, list)
    return shards


def _state(shard: Mapping[str, object]) -> Any:
    return wire.ReplicaState.Value(str(shard["state"]))


def _shard_key(shard: Mapping[str, object]) -> Any:
    match shard.get("shard_key"):
        case None:
            return None
        case int() as number:
            return wire.ShardKey(number=number)
        case text:
            return wire.ShardKey(keyword=str(text))


def _selected(collection: StoredCollection, request: Any, context: Any) -> list[int | str] | None:
    """The shard keys that a request names; None: it names none."""
    if not request.HasField("shard_key_selector"):
        return None
    keys = request.shard_key_selector.shard_keys
    named = [getattr(key, key.WhichOneof("key")) for key in keys]
    for key in named:
        if key not in collection.shard_keys:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(NoShardKeyError(key)))
    return named


class _Points(wire.PointsServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    @override
    def Count(self, request: Any, context: Any) -> wire.CountResponse:
        collection = _find(self._server.collection, request.collection_name, context)
        keys = _selected(collection, request, context)
        count = collection.count(_filter(collection, request, context), keys)
        return wire.CountResponse(result=wire.CountResult(count=count))

    @override
    def Scroll(self, request: Any, context: Any) -> wire.ScrollResponse:
        collection = _find(self._server.collection, request.collection_name, context)
        if collection.is_away():
            collection.refused += 1
            self._fail(context)
        complaint = collection.refuses(request.limit)
        if complaint is not None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, complaint)
        start = None
        if request.HasField("offset"):
            chosen = request.offset.WhichOneof("point_id_options")
            start = PointId.parse(getattr(request.offset, chosen))
        wanted = _filter(collection, request, context)
        keys = _selected(collection, request, context)
        page, cursor, looked_at = collection.scroll_looking_on(start, request.limit, wanted, keys)
        if request.with_payload.enable and collection.breaks(looked_at):
            self._fail(context)
        answer = wire.ScrollResponse(
            next_page_offset=encode_id(cursor) if cursor is not None else None
        )
        for point in page:
            self._fill(answer.result.add(), point, request)
        return answer

    @override
    def Get(self, request: Any, context: Any) -> wire.GetResponse:
        collection = _find(self._server.collection, request.collection_name, context)
        ids = [
            PointId.parse(getattr(raw, raw.WhichOneof("point_id_options"))) for raw in request.ids
        ]
        found = collection.retrieve(ids, _selected(collection, request, context))
        if collection.is_away():
            collection.refused += 1
            self._fail(context)
        if collection.breaks(found):
            self._fail(context)
        answer = wire.GetResponse()
        for point in found:
            self._fill(answer.result.add(), point, request)
        return answer

    def _fail(self, context: Any) -> None:
        failure = self._server.page_failure
        if isinstance(failure, Stall):
            while context.is_active() and not self._server.ending.wait(timeout=0.05):
                pass  # until the caller gives up, so that its next call finds a thread
            return
        assert isinstance(failure, Abort)
        context.set_trailing_metadata(tuple(failure.trailing.items()))
        context.abort(failure.code, failure.details)

    def _fill(self, record: wire.RetrievedPoint, point: StoredPoint, request: Any) -> None:
        """In place: a message that is copied may nest no deeper than one that is read."""
        record.id.CopyFrom(encode_id(point.key))
        if point.shard_key is not None:
            record.shard_key.CopyFrom(_shard_key({"shard_key": point.shard_key}))
        if request.with_payload.enable:
            for key, value in (point.payload or {}).items():
                fill_value(record.payload[key], value)
        if request.with_vectors.enable:
            record.vectors.CopyFrom(self._vectors(point))

    def _vectors(self, point: StoredPoint) -> wire.VectorsOutput:
        encode = encode_vector if self._server.new_layout else encode_vector_flat
        named = {name: encode(vector) for name, vector in point.vectors.items()}
        collection = self._server.collection
        if "size" in collection.vectors and not collection.sparse_vectors:
            return wire.VectorsOutput(vector=named.get(""))
        return wire.VectorsOutput(vectors=wire.NamedVectorsOutput(vectors=named))


def _filter(collection: StoredCollection, request: Any, context: Any) -> Mapping[str, Any] | None:
    """The filter of a request, as the REST API has it."""
    if not request.HasField("filter"):
        return None
    if collection.filter_refusal is not None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, collection.filter_refusal)
    found: dict[str, Any] = GrpcToRest.convert_filter(request.filter).model_dump(
        by_alias=True, exclude_none=True
    )
    return found


def _find(collection: StoredCollection, name: str, context: Any) -> StoredCollection:
    if name != collection.name:
        details = f"Not found: Collection `{name}` doesn't exist!"
        context.abort(grpc.StatusCode.NOT_FOUND, details)
    return collection


def encode_id(point_id: PointId) -> wire.PointId:
    """An id as the protocol has it."""
    return wire.PointId(uuid=point_id.text) if point_id.rank else wire.PointId(num=point_id.number)


def fill_value(message: wire.Value, value: object) -> None:
    """A payload value; integers beyond 64 signed bits become doubles, as on a server."""
    match value:
        case list():
            message.list_value.SetInParent()
            for inner in value:
                fill_value(message.list_value.values.add(), inner)
        case dict():
            message.struct_value.SetInParent()
            for key, inner in value.items():
                fill_value(message.struct_value.fields[key], inner)
        case _:
            message.CopyFrom(_encode_scalar(value))


def _encode_scalar(value: object) -> wire.Value:
    match value:
        case None:
            return wire.Value(null_value=wire.NULL_VALUE)
        case bool():
            return wire.Value(bool_value=value)
        case int() if -(2**63) <= value < 2**63:
            return wire.Value(integer_value=value)
        case int() | float():
            return wire.Value(double_value=float(value))
        case _:
            return wire.Value(string_value=str(value))


def _rows(vector: Dense | Multi) -> list[list[float]] | None:
    """The rows of a multivector, None for a dense one."""
    if not len(vector) or not isinstance(vector[0], Sequence | np.ndarray):
        return None
    return [np.array(row, dtype=np.float32).tolist() for row in vector]


def encode_vector(vector: AnyVector) -> wire.VectorOutput:
    """The layout from 1.17 on."""
    if isinstance(vector, SparseValues):
        sparse = wire.SparseVector(values=vector.values, indices=vector.indices)
        return wire.VectorOutput(sparse=sparse)
    rows = _rows(vector)
    if rows is None:
        return wire.VectorOutput(dense=wire.DenseVector(data=np.array(vector, dtype=np.float32)))
    multi = wire.MultiDenseVector(vectors=[wire.DenseVector(data=row) for row in rows])
    return wire.VectorOutput(multi_dense=multi)


def encode_vector_flat(vector: AnyVector) -> wire.VectorOutput:
    """The layout up to 1.16."""
    if isinstance(vector, SparseValues):
        indices = wire.SparseIndices(data=vector.indices)
        return wire.VectorOutput(data=vector.values, indices=indices)
    rows = _rows(vector)
    if rows is None:
        return wire.VectorOutput(data=np.array(vector, dtype=np.float32))
    return wire.VectorOutput(data=[value for row in rows for value in row], vectors_count=len(rows))


def encode_info(info: Mapping[str, Any]) -> wire.CollectionInfo:
    """What `StoredCollection.describe` says, as the protocol's message."""
    params = info["config"]["params"]
    vectors = params["vectors"]
    config = wire.VectorsConfig()
    if "size" in vectors:
        config.params.CopyFrom(_vector_params(vectors))
    else:
        for name, found in vectors.items():
            config.params_map.map[name].CopyFrom(_vector_params(found))
    message = wire.CollectionInfo(
        status=wire.CollectionStatus.Value(info["status"].capitalize()),
        optimizer_status=wire.OptimizerStatus(ok=info["optimizer_status"] == "ok"),
        points_count=info["points_count"],
        warnings=[wire.CollectionWarning(**warning) for warning in info.get("warnings", [])],
    )
    message.config.params.vectors_config.CopyFrom(config)
    message.config.params.shard_number = params["shard_number"]
    if "sharding_method" in params:
        method = wire.ShardingMethod.Value(params["sharding_method"].capitalize())
        message.config.params.sharding_method = method
    for name in params.get("sparse_vectors", {}):
        message.config.params.sparse_vectors_config.map[name].SetInParent()
    if "update_queue" in info:
        message.update_queue.CopyFrom(wire.UpdateQueueInfo(**info["update_queue"]))
    return message


def _vector_params(found: Mapping[str, Any]) -> wire.VectorParams:
    params = wire.VectorParams(size=found["size"], distance=wire.Distance.Value(found["distance"]))
    if "datatype" in found:
        params.datatype = wire.Datatype.Value(found["datatype"].capitalize())
    if "multivector_config" in found:
        params.multivector_config.comparator = wire.MultiVectorComparator.MaxSim
        params.multivector_config.SetInParent()
    return params


@contextmanager
def grpc_server(
    collection: StoredCollection,
    *,
    version: str = "1.19.0",
    api_key: str | None = None,
    certificate: Path | None = None,
    client_authority: Path | None = None,
    options: Sequence[tuple[str, object]] = (),
) -> Iterator[GrpcServer]:
    """Serve `collection` on an ephemeral port of 127.0.0.1 until the block ends.

    With `certificate` (a PEM file holding key and chain) over TLS; with `client_authority` only for
    clients that show a certificate of this authority.
    """
    served = GrpcServer(collection, version, api_key)
    with ThreadPoolExecutor(max_workers=4) as threads:
        server = grpc.server(
            threads,
            interceptors=(_Gate(served),),
            # Packed for clients that offer it, as by a real server.
            options=[("grpc.so_reuseport", 0), ("grpc.default_compression_level", 2), *options],
        )
        wire.add_QdrantServicer_to_server(_Qdrant(served), server)  # type: ignore[no-untyped-call]
        wire.add_CollectionsServicer_to_server(  # type: ignore[no-untyped-call]
            _Collections(served), server
        )
        wire.add_PointsServicer_to_server(_Points(served), server)  # type: ignore[no-untyped-call]
        if certificate is None:
            served.port = server.add_insecure_port("127.0.0.1:0")
        else:
            pem = certificate.read_bytes()
            wanted = None if client_authority is None else client_authority.read_bytes()
            credentials = grpc.ssl_server_credentials(
                [(pem, pem)], root_certificates=wanted, require_client_auth=wanted is not None
            )
            served.port = server.add_secure_port("127.0.0.1:0", credentials)
            served.scheme = "https"
        server.start()
        try:
            yield served
        finally:
            served.ending.set()
            server.stop(grace=None).wait()
