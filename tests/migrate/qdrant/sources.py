"""Every way to read a stored collection: the adapters in front of the servers that hold it."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import qdrant_client
from qdrant_client import models
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    MultiVectorComparator,
    MultiVectorConfig,
    Point,
    SparseVector,
    UpdateOperation,
    VectorStorageDatatype,
)

from migrate.clock import SystemClock
from migrate.model.choices import TransportChoice
from migrate.ports import PointSource
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.folder.local_mode.source import LocalModeSource
from migrate.qdrant.folder.open import open_stored_source
from migrate.qdrant.folder.source import EdgeSource
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import SparseValues, StoredCollection
from tests.servers.qdrant_rest import rest_server

Backend = Callable[[StoredCollection, Path], AbstractContextManager[PointSource]]


@contextmanager
def edge(collection: StoredCollection, folder: Path) -> Iterator[PointSource]:
    """An embedded store written and closed first, then read."""
    path = folder / "shard"
    write_shard(collection, path)
    with closing(EdgeSource(path, collection=collection.name)) as source:
        yield source


@contextmanager
def part(
    way: str, collection: StoredCollection, folder: Path, point_filter: PointFilter
) -> Iterator[PointSource]:
    """The points that a filter picks, read over "rest", "grpc", or from a "folder" or "local"."""
    if way in {"folder", "local"}:
        if way == "folder":
            write_shard(collection, folder / "store")
        else:
            write_local_mode(folder / "store", collection)
        stored = open_stored_source(
            folder / "store",
            collection=collection.name,
            copies=folder / "copies",
            say=lambda _: None,
            point_filter=point_filter,
        )
        with closing(stored):
            yield stored
        return
    transport: TransportChoice = "rest" if way == "rest" else "grpc"
    serving = rest_server(collection) if way == "rest" else grpc_server(collection)
    with serving as server:
        opened = open_server_source(
            server.url,
            collection=collection.name,
            api_key=None,
            transport=transport,
            clock=VirtualClock(),
            options=ServerOptions(filter=point_filter),
        )
        with closing(opened):
            yield opened


def write_shard(collection: StoredCollection, path: Path) -> None:
    """Make an embedded store of the collection."""
    shard = EdgeShard.create(str(path), _edge_config(collection))
    points = [
        Point(
            point.id,
            {name: _edge_vector(vector) for name, vector in point.vectors.items()},
            dict(point.payload) if point.payload is not None else None,
        )
        for point in collection.points
    ]
    if points:
        shard.update(UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()


def _edge_config(collection: StoredCollection) -> EdgeConfig:
    dense = collection.vectors
    named = {"": dense} if "size" in dense else dense
    return EdgeConfig(
        vectors={name: _edge_params(found) for name, found in named.items()},
        sparse_vectors={name: EdgeSparseVectorParams() for name in collection.sparse_vectors},
    )


def _edge_params(found: object) -> EdgeVectorParams:
    assert isinstance(found, dict)
    multi = MultiVectorConfig(MultiVectorComparator.MaxSim)
    return EdgeVectorParams(
        size=found["size"],
        distance=getattr(Distance, found["distance"]),
        datatype=getattr(VectorStorageDatatype, found.get("datatype", "float32").capitalize()),
        multivector_config=multi if "multivector_config" in found else None,
    )


def _edge_vector(vector: object) -> Any:
    if isinstance(vector, SparseValues):
        return SparseVector(indices=list(vector.indices), values=list(vector.values))
    return vector


@contextmanager
def local_mode(collection: StoredCollection, folder: Path) -> Iterator[PointSource]:
    """A folder of the Python client, written and closed first, then read."""
    path = write_local_mode(folder / "local", collection)
    with closing(
        LocalModeSource(path, collection=collection.name, copies=None, say=lambda _: None)
    ) as source:
        yield source


def write_local_mode(path: Path, collection: StoredCollection) -> Path:
    """The folder of `QdrantClient(path=...)` with this collection."""
    with closing(qdrant_client.QdrantClient(path=str(path))) as client:
        fill_with_client(client, collection)
    return path


def rest(version: str) -> Backend:
    """A REST server of that version."""

    @contextmanager
    def opened(collection: StoredCollection, _folder: Path) -> Iterator[PointSource]:
        with (
            rest_server(collection, version=version) as server,
            closing(
                open_server_source(
                    server.url,
                    collection=collection.name,
                    api_key=None,
                    transport="rest",
                    clock=VirtualClock(),
                )
            ) as source,
        ):
            yield source

    return opened


def grpc(version: str) -> Backend:
    """A gRPC server of that version."""

    @contextmanager
    def opened(collection: StoredCollection, _folder: Path) -> Iterator[PointSource]:
        with (
            grpc_server(collection, version=version) as server,
            closing(
                open_server_source(
                    server.url,
                    collection=collection.name,
                    api_key=None,
                    transport="grpc",
                    clock=VirtualClock(),
                )
            ) as source,
        ):
            yield source

    return opened


def real(transport: TransportChoice) -> Backend:
    """The server of QDRANT_URL; nothing but a collection made here is touched."""

    @contextmanager
    def opened(collection: StoredCollection, _folder: Path) -> Iterator[PointSource]:
        url = os.environ["QDRANT_URL"]
        api_key = os.environ.get("QDRANT_API_KEY")
        client = qdrant_client.QdrantClient(url=url, api_key=api_key, check_compatibility=False)
        collection.name = f"q2v-test-{uuid.uuid4()}"
        fill_with_client(client, collection)
        try:
            with closing(
                open_server_source(
                    url,
                    collection=collection.name,
                    api_key=api_key,
                    transport=transport,
                    clock=SystemClock(),
                    options=ServerOptions(attempts_max=3),
                )
            ) as source:
                yield source
        finally:
            client.delete_collection(collection.name)
            client.close()

    return opened


def fill_with_client(client: qdrant_client.QdrantClient, collection: StoredCollection) -> None:
    """Create the collection and write its points through the Python client."""
    dense = collection.vectors
    client.create_collection(
        collection.name,
        vectors_config=models.VectorParams.model_validate(dense)
        if "size" in dense
        else {name: models.VectorParams.model_validate(found) for name, found in dense.items()},
        sparse_vectors_config={
            name: models.SparseVectorParams() for name in collection.sparse_vectors
        },
    )
    if collection.points:
        client.upsert(
            collection.name,
            points=[
                models.PointStruct.model_validate(
                    {
                        "id": point.id,
                        "vector": _client_vectors(point.vectors),
                        "payload": point.payload,
                    }
                )
                for point in collection.points
            ],
            wait=True,
        )


def _client_vectors(vectors: object) -> object:
    assert isinstance(vectors, dict)
    if "" in vectors:
        return vectors[""]
    return {
        name: models.SparseVector(indices=list(vector.indices), values=list(vector.values))
        if isinstance(vector, SparseValues)
        else vector
        for name, vector in vectors.items()
    }


BACKENDS: dict[str, Backend] = {
    "edge": edge,
    "local-mode": local_mode,
    "rest-1.7": rest("1.7.4"),
    "rest-1.20": rest("1.20.0"),
    "grpc-1.16": grpc("1.16.3"),
    "grpc-1.19": grpc("1.19.0"),
}
if "QDRANT_URL" in os.environ:
    BACKENDS |= {"real-rest": real("rest"), "real-grpc": real("grpc")}
