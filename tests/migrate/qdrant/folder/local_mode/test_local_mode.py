"""A collection of the Python client's local mode is read as a server would give it, or refused."""

import base64
import fcntl
import pickle
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from typing_extensions import override

from migrate.errors import (
    ExitCode,
    LocalStorageError,
    MigrationError,
    PreconditionError,
    RunLockedError,
    UnreadablePointError,
)
from migrate.model.digest import digest_points
from migrate.model.irregular import payload_is_irregular
from migrate.model.records import DenseColumn, Page
from migrate.ports import PointSource
from migrate.qdrant.folder.open import open_stored_source
from migrate.qdrant.folder.source import EdgeSource
from migrate.restore.settings import read_settings
from tests.migrate.qdrant.sources import write_local_mode, write_shard
from tests.servers.qdrant_points import StoredCollection, StoredPoint

pytestmark = pytest.mark.fault("M23")

UUIDS = [str(uuid.UUID(int=number << 90)) for number in range(4)]


def stored(*, distance: str = "Dot") -> StoredCollection:
    ids: list[int | str] = [5, 1, *UUIDS, 2**64 - 1]
    points = [
        StoredPoint(point_id, {"": [float(position), 0.5]}, {"n": position, "t": "größer"})
        for position, point_id in enumerate(ids)
    ]
    return StoredCollection(name="docs", points=points, vectors={"size": 2, "distance": distance})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_local_mode(tmp_path / "local", stored())


def opened(path: Path, collection: str = "docs") -> PointSource:
    return open_stored_source(
        path, collection=collection, copies=path.parent / "copies", say=lambda _: None
    )


def read(path: Path, collection: str = "docs") -> Page:
    with closing(opened(path, collection)) as source:
        return source.read_points(None, limit=1000)


def refused(path: Path, collection: str = "docs") -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        read(path, collection)
    assert caught.value.exit_code == ExitCode.PRECONDITION
    assert not [*(path.parent / "copies").glob("*")]
    return caught.value


def change_row(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "collection/docs/storage.sqlite")) as database, database:
        database.execute(statement, values)


def put(folder: Path, point: object, key: object = 1) -> None:
    """Replace the pickled point of an id."""
    encoded = base64.b64encode(pickle.dumps(key, 4)).decode()
    content = point if isinstance(point, bytes) else pickle.dumps(point, 4)
    change_row(folder, "INSERT OR REPLACE INTO points VALUES (?, ?)", encoded, content)


def test_points_are_those_of_an_embedded_store(folder: Path, tmp_path: Path) -> None:
    write_shard(stored(), tmp_path / "shard")
    with closing(EdgeSource(tmp_path / "shard", collection="docs")) as source:
        expected = source.read_points(None, limit=1000)
    page = read(folder)

    assert expected.ids == page.ids
    assert expected.payloads == page.payloads
    assert digest_points(expected) == digest_points(page)


def cosine(values: list[list[float]]) -> StoredCollection:
    points = [StoredPoint(number, {"": row}) for number, row in enumerate(values)]
    return StoredCollection(
        name="docs", points=points, vectors={"size": len(values[0]), "distance": "Cosine"}
    )


def values_of(page: Page) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    return column.values


def test_cosine_vectors_are_normalised_as_a_server_does_it(tmp_path: Path) -> None:
    """Vectors of length 1 keep their bits; a server rounds others in the last place as it may."""
    random = np.random.default_rng(11).standard_normal((40, 48)).astype(np.float32)
    units = random / np.linalg.norm(random, axis=1, keepdims=True)
    zeros = np.zeros((1, 48), dtype=np.float32)
    collection = cosine([*units.tolist(), *random.tolist(), *zeros.tolist()])
    write_shard(collection, tmp_path / "shard")
    with closing(EdgeSource(tmp_path / "shard", collection="docs")) as source:
        expected = values_of(source.read_points(None, limit=1000))
    page = values_of(read(write_local_mode(tmp_path / "local", collection)))

    assert expected[:40].tobytes() == page[:40].tobytes()
    np.testing.assert_allclose(expected[40:], page[40:], rtol=3e-7, atol=1e-9)


def test_reading_walks_by_id_in_pages(folder: Path) -> None:
    with closing(opened(folder)) as source:
        ids = source.read_ids(None, limit=3)
        page = source.read_points(ids[-1].successor(), limit=2)
        assert source.count_points() == 7
        rest = source.read_payloads(page.ids[-1].successor(), limit=100)

    assert [found.text for found in (*ids, *page.ids, *rest.ids)] == [
        "1", "5", str(2**64 - 1), *UUIDS,
    ]  # fmt: skip
    assert rest.vectors == {}


def test_the_collection_is_described_as_a_server_does_it(folder: Path) -> None:
    with closing(opened(folder)) as source:
        collection, identity = source.read_collection(), source.identity()

    assert [(spec.name, spec.dimensions, spec.distance) for spec in collection.vectors] == [
        ("", 2, "Dot")
    ]
    creation = read_settings(collection.config).creation
    assert creation == {"vectors": {"size": 2, "distance": "Dot"}, "sparse_vectors": {}}
    assert identity == {"path": str(folder), "collection": "docs", "transport": "local mode"}


def test_an_alias_names_its_collection(folder: Path) -> None:
    with closing(QdrantClient(path=str(folder))) as client:
        alias = models.CreateAlias(collection_name="docs", alias_name="current")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])

    assert len(read(folder, "current")) == 7


def test_a_collection_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    error = refused(folder, "notes")

    assert "has no collection 'notes'; it has docs" in str(error)


@pytest.mark.fault("M25")
@pytest.mark.parametrize("inner", ["collection", "collection/docs"])
def test_a_part_of_the_folder_is_refused_with_the_folder_to_set(folder: Path, inner: str) -> None:
    error = refused(folder / inner)

    assert f"set source.path to {folder}" in error.remedy


@pytest.mark.fault("M25", "G08")
def test_a_folder_that_a_client_has_open_is_refused_until_it_closes(folder: Path) -> None:
    with (
        closing(QdrantClient(path=str(folder))),
        pytest.raises(RunLockedError, match="is open in another process"),
    ):
        opened(folder)
    with (
        closing(opened(folder)),
        (folder / ".lock").open() as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as a client does it

    assert len(read(folder)) == 7


@pytest.mark.fault("M25")
def test_a_copy_without_its_lock_file_is_read(folder: Path) -> None:
    (folder / ".lock").unlink()

    assert len(read(folder)) == 7
    assert not (folder / ".lock").exists()


@pytest.mark.fault("M25")
def test_reading_changes_nothing_in_the_folder(folder: Path) -> None:
    def state() -> dict[Path, tuple[bytes, int]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = state()
    read(folder)

    assert before == state()


@pytest.mark.fault("M25")
def test_what_a_killed_client_did_not_commit_is_not_read(folder: Path) -> None:
    """The journal of SQLite is copied with the file, and rolled back in the copy."""
    file = folder / "collection/docs/storage.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("UPDATE points SET point = randomblob(200000)")
        half = tuple(path.read_bytes() for path in sorted(file.parent.iterdir()))
        names = sorted(path.name for path in file.parent.iterdir())
        database.rollback()
    assert names == ["storage.sqlite", "storage.sqlite-journal"]
    for name, content in zip(names, half, strict=True):
        (file.parent / name).write_bytes(content)

    assert len(read(folder)) == 7


def describe(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "meta.json").write_text(text)


def make_old(folder: Path) -> None:
    home = folder / "collection" / "docs"
    (home / "storage.sqlite").rename(home / "storage.dbm")


@pytest.mark.fault("M25")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (describe("{"), "meta.json is no JSON"),
        (describe("[]"), "meta.json names no collections"),
        (describe('{"collections": {"docs": {"vectors": {"size": 0}}}}'), "does not describe"),
        (describe('{"collections": {"docs": {"vectors": {"size": 1048577}}}}'), "has size 1048577"),
        (lambda folder: (folder / "meta.json").unlink(), "it has no meta.json"),
        (lambda folder: shutil.rmtree(folder / "collection" / "docs"), "has no storage.sqlite"),
        (make_old, "by a Python client before 1.1.7"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    folder: Path, change: Callable[[Path], object], said: str
) -> None:
    change(folder)
    path = folder if (folder / "meta.json").exists() else folder / "collection/docs"

    assert said in str(refused(path))


@pytest.mark.fault("M25")
def test_an_id_that_the_disk_has_changed_is_refused(folder: Path) -> None:
    """The row is whole, and the index of the ids shows the other id."""
    file = folder / "collection/docs/storage.sqlite"
    five, six = (base64.b64encode(pickle.dumps(number, 4)) for number in (5, 6))
    content = file.read_bytes()
    assert content.count(five) == len(("row", "index"))
    file.write_bytes(content.replace(five, six, 1))

    with pytest.raises(MigrationError, match="SQLite cannot read"):
        opened(folder)


@pytest.mark.fault("M25")
def test_a_damaged_file_is_refused_with_the_words_of_sqlite(folder: Path) -> None:
    file = folder / "collection/docs/storage.sqlite"
    content = file.read_bytes()
    for damaged in (
        b"no database" * 1000,
        content[: len(content) // 2],
        content[:4096] + bytes(8192),
    ):
        file.write_bytes(damaged)
        with pytest.raises(MigrationError, match=r"SQLite cannot read|holds no table of points"):
            opened(folder)


@pytest.mark.fault("M24")
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW points AS SELECT 1 AS id, 2 AS point",
        "CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB, more TEXT)",
        "CREATE VIRTUAL TABLE points USING fts5(id, point)",
    ],
)
def test_a_table_that_the_client_does_not_make_is_refused(folder: Path, statement: str) -> None:
    change_row(folder, "DROP TABLE points")
    change_row(folder, statement)

    assert "holds no table of points as the Python client makes it" in str(refused(folder))


def test_the_newest_row_of_an_id_counts(folder: Path) -> None:
    """Clients before kept a row for each spelling of a UUID."""
    newest = models.PointStruct.model_construct(
        id=UUIDS[1].upper(), vector=[9.0, 9.0], payload={"n": "newest"}
    )
    put(folder, newest, key=UUIDS[1].upper())
    page = read(folder)

    assert len(page) == 7
    position = [found.text for found in page.ids].index(UUIDS[1])
    assert page.payloads[position] == b'{"n":"newest"}'


class Touch:
    """Would write a file, were it unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    @override
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._target,)


@pytest.mark.fault("M24")
def test_a_pickle_that_is_no_point_is_refused_and_not_executed(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "written"
    put(folder, Touch(target))
    assert "point 1 in" in str(refused(folder))
    put(
        folder,
        models.PointStruct.model_construct(id=1, vector=[1.0, 2.0], payload={"x": Touch(target)}),
    )
    error = refused(folder)

    assert "nothing of it was executed" in str(error)
    assert not target.exists()


def point(**fields: object) -> object:
    whole: dict[str, Any] = {"id": 1, "vector": [1.0, 2.0], "payload": {}} | fields
    return models.PointStruct.model_construct(None, **whole)


@pytest.mark.fault("M24")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"id": 1}, "it is no point"),
        (models.SparseVector(indices=[1], values=[1.0]), "it is no point"),
        (point(id=2), "its row has the id 1, the point 2"),
        (point(vector=3), "its vector is of type int"),
        (point(payload=[1]), "its payload is of type list"),
        (b"cut", "is not what the Python client stores"),
        (b"", "is not what the Python client stores"),
    ],
)
def test_a_row_that_is_no_point_of_its_id_is_refused(
    folder: Path, content: object, said: str
) -> None:
    put(folder, content)

    assert said in str(refused(folder))


@pytest.mark.parametrize("point_id", [-1, 2**64, "no-uuid"])
def test_an_id_that_a_server_refuses_is_named(folder: Path, point_id: object) -> None:
    put(folder, point(id=point_id), key=point_id)

    assert str(point_id) in str(refused(folder))


def test_payloads_that_are_no_json_are_kept_as_text(folder: Path) -> None:
    put(folder, point(payload={"n": float("nan")}))
    page = read(folder)

    assert page.payloads[0] == b"{}"
    assert payload_is_irregular(page.irregular[0])
    assert b"NaN" in (page.irregular[0] or b"")


def test_a_payload_that_has_no_text_is_named(folder: Path) -> None:
    put(folder, point(payload={"n": {1, 2}}))

    with pytest.raises(UnreadablePointError, match="point 1: its payload is no JSON"):
        read(folder)


@pytest.mark.parametrize(
    "vector", [[1.0], [1.0, None], [1.0, "2"], [[1.0, 2.0], [3.0]], [True, 1.0]]
)
def test_a_vector_that_does_not_fit_is_kept_as_it_is(folder: Path, vector: object) -> None:
    put(folder, point(vector=vector))
    page = read(folder)

    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.present.tolist() == [False] + [True] * 6
    assert page.irregular[0] is not None


@pytest.mark.fault("M29")
def test_custom_sharding_is_refused(folder: Path) -> None:
    meta = folder / "meta.json"
    meta.write_text(
        meta.read_text().replace('"sharding_method": null', '"sharding_method": "custom"')
    )

    assert "uses custom sharding" in str(refused(folder))


def test_a_damaged_disk_is_an_error_of_ours(folder: Path) -> None:
    source = opened(folder)
    source.close()

    with pytest.raises(LocalStorageError, match="SQLite cannot read"):
        source.read_points(None, limit=1)
