"""The small world with a collection that is divided over two vector indexes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from typing_extensions import override

from migrate.mapping.shards import counter_key_of, shard_of
from q2v.settings import Settings
from tests.harness.journal_files import acknowledged_uploads
from tests.harness.running.target import DIMENSIONS, put_former_content
from tests.harness.world import FILES, World, settings

INDEXES = ("part-a", "part-b")
BATCH_VECTORS = 8  # 3 and 2 uploads
POINTS = 30


def files_in(index: str) -> list[str]:
    """The files of the collection that an index holds."""
    return [
        name for name in map("file-{}".format, range(FILES)) if shard_of(name, INDEXES) == index
    ]


@dataclass(slots=True)
class SeveralWorld(World):
    """A life with two indexes; a command works on the one that the settings name."""

    @override
    @staticmethod
    def first_settings() -> Settings:
        one = settings()
        return replace(
            one,
            target=replace(one.target, shards=INDEXES, vector_index=INDEXES[0]),
            limits=replace(one.limits, vectors_per_upload=BATCH_VECTORS),
        )

    @override
    def fill(self) -> None:
        for index in INDEXES:
            self.app.store.create_vector_index(index, DIMENSIONS, "cosine")
            first, second, *_ = files_in(index)
            put_former_content(
                self.app.store,
                self.namespace_id,
                ours=[f"{first}_0", f"{second}_2"],
                index=index,
                counter_key=counter_key_of(self.settings.kv.counter_key, index),
            )

    @override
    def each_index(self) -> Iterator[str]:
        for index in INDEXES:
            with self._at(index):
                yield index

    @contextmanager
    def _at(self, index: str) -> Iterator[None]:
        before = self.settings
        self.settings = replace(before, target=replace(before.target, vector_index=index))
        try:
            yield
        finally:
            self.settings = before

    @override
    def files_of(self, index: str) -> int:
        return len(files_in(index)) + (shard_of("elsewhere", INDEXES) == index)

    @override
    def acknowledged_uploads(self) -> set[str]:
        found = set[str]()
        for lines in self.journals():  # each numbers its uploads by itself
            found |= acknowledged_uploads([line for line in lines if line.endswith(b"\n")])
        return found
