"""A file store writes vectors and entries into the namespaces of the move that filled it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from migrate.errors import UsageError
from migrate.file_stores.contract import FileVector
from migrate.file_stores.rules import FileStoreRules
from migrate.file_stores.vectorize_store import VectorizeFileStore
from migrate.mapping.transforms.table import read_transforms
from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.runtime import Runtime
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors
from tests.harness.fakes.silence import Silence
from tests.migrate.file_stores.cases import DIMENSIONS, rules, vectors

pytestmark = pytest.mark.fault("M13")


def in_namespaces() -> FileStoreRules:
    plain = rules()
    return replace(plain, mapping=replace(plain.mapping, namespace="{tenant}"))


def of_tenant(tenant: str, chunks: Sequence[FileVector]) -> list[FileVector]:
    return [replace(one, metadata={**one.metadata, "tenant": tenant}) for one in chunks]


class Bench:
    """A store over the fakes of the ports."""

    def __init__(self) -> None:
        self.vectors, self.kv = MemoryVectors(dimensions=DIMENSIONS), MemoryKv()
        self.clock = VirtualClock()
        self.store = self.open()

    def open(self) -> VectorizeFileStore:
        """A store of another process: it knows nothing of what was written."""
        runtime = Runtime(clock=self.clock, progress=Silence())
        return VectorizeFileStore(
            Target(self.vectors, self.kv), in_namespaces(), runtime, kv_settle_s=0
        )

    def namespaces(self) -> dict[str, str | None]:
        return {str(one.id): one.namespace for one in self.vectors.stored.values()}

    def entry(self, file_id: str) -> object:
        return self.kv.stored[f"file:{file_id}"].metadata


def test_vectors_and_entries_have_the_namespace_of_their_metadata() -> None:
    bench = Bench()

    bench.store.upsert_vectors(
        [*of_tenant("acme", vectors("a", 2)), *of_tenant("7", vectors("b", 1))]
    )

    assert bench.namespaces() == {"a_0": "acme", "a_1": "acme", "b_0": "7"}
    assert (bench.entry("a"), bench.entry("b")) == ({"namespace": "acme"}, {"namespace": "7"})


def test_an_entry_keeps_its_namespace_when_chunks_are_removed() -> None:
    bench = Bench()
    bench.store.upsert_vectors(of_tenant("acme", vectors("a", 3)))

    bench.store.delete_vectors_by_ids(["a_2"])
    bench.open().delete_vectors_by_ids(["a_1"])

    assert bench.namespaces() == {"a_0": "acme"}
    assert bench.entry("a") == {"namespace": "acme"}


def test_a_whole_file_moves_to_another_tenant() -> None:
    bench = Bench()
    bench.store.upsert_vectors(of_tenant("acme", vectors("a", 3)))

    bench.open().upsert_vectors(of_tenant("globex", vectors("a", 2)), whole_files=True)

    assert bench.namespaces() == {"a_0": "globex", "a_1": "globex"}
    assert bench.entry("a") == {"namespace": "globex"}


def test_a_file_is_never_divided_between_two_tenants() -> None:
    bench = Bench()
    bench.store.upsert_vectors(of_tenant("acme", vectors("a", 3)))
    before = bench.namespaces()

    with pytest.raises(UsageError, match="'a_0' would stay there"):
        bench.open().upsert_vectors(of_tenant("globex", vectors("a", 2, first=1)))
    with pytest.raises(UsageError, match="others of its file are in 'acme'"):
        bench.store.upsert_vectors(
            [*of_tenant("acme", vectors("b", 1)), *of_tenant("x", vectors("b", 1, first=1))]
        )

    assert bench.namespaces() == before


def test_metadata_that_names_no_namespace_is_refused() -> None:
    bench = Bench()

    with pytest.raises(UsageError, match="'tenant' in the metadata: absent"):
        bench.store.upsert_vectors(vectors("a", 1))

    assert VectorId("a_0") not in bench.vectors.stored


def test_rules_that_leave_no_namespace_in_the_metadata_are_refused() -> None:
    plain = rules()
    drops = read_transforms([{"drop": ["tenant"]}])

    with pytest.raises(UsageError, match="expected fields that the metadata has"):
        replace(plain, mapping=replace(plain.mapping, namespace="{tenant}", transforms=drops))
