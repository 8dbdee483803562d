"""A sync Worker after the cutover: files come, change and go, one step at a time.

Between two steps the stores do not fit together for a moment, as in a live system.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson

from migrate.model.records import KvEntry, Vector, VectorId
from tests.harness.fakes.memory_source import DIMENSIONS
from tests.harness.move import COUNTER, Move


@dataclass
class Worker:
    """Its steps are taken one by one, by `step`; `rest` takes those that are left."""

    move: Move
    random: random.Random
    files: dict[str, list[str]]  # what it believes to be stored: file -> vector ids
    _steps: list[Callable[[], None]] = field(default_factory=list)
    _number: int = 0

    def begin(self) -> None:
        """Plan one change: a new file, a longer or shorter one, or a deleted one."""
        kind = self.random.choice(["new", "new", "grow", "shrink", "delete"])
        if kind == "new" or not self.files:
            self._number += 1
            self._steps += self._write(f"new-{self._number}", self.random.randint(1, 9))
        else:
            file = self.random.choice(sorted(self.files))
            count = len(self.files[file])
            if kind == "grow":
                self._steps += self._write(file, count + self.random.randint(1, 3))
            elif kind == "shrink" and count > 1:
                self._steps += self._write(file, count - 1)
            else:
                self._steps += self._delete(file)

    def step(self) -> None:
        """Take the next step, if there is one."""
        if self._steps:
            self._steps.pop(0)()

    def rest(self) -> None:
        """Take all steps that are left."""
        while self._steps:
            self.step()

    def _write(self, file: str, count: int) -> Iterator[Callable[[], None]]:
        """Vectors first, then the entry, then the counter, then what is no longer named."""
        ids = [f"{file}_{number}" for number in range(count)]
        gone = [one for one in self.files.get(file, []) if one not in ids]
        self.files[file] = ids
        yield lambda: self.put(ids, file)
        yield lambda: self.entry(file, ids)
        yield lambda: self.remove(gone)
        yield self.count

    def _delete(self, file: str) -> Iterator[Callable[[], None]]:
        ids = self.files.pop(file)
        yield lambda: self.forget(file)
        yield lambda: self.remove(ids)
        yield self.count

    def put(self, ids: list[str], file: str) -> None:
        """Write vectors."""
        for one in map(VectorId, ids):
            values = np.array([self.random.random() for _ in range(DIMENSIONS)], np.float32)
            vector = Vector(id=one, values=values, metadata={"file_id": file}, namespace=None)
            self.move.vectors.stored[one] = vector

    def remove(self, ids: list[str]) -> None:
        """Delete vectors."""
        for one in ids:
            del self.move.vectors.stored[VectorId(one)]

    def forget(self, file: str) -> None:
        """Delete the entry of a file."""
        del self.move.kv.stored[f"file:{file}"]

    def entry(self, file: str, ids: list[str]) -> None:
        """Write the entry of a file."""
        key = f"file:{file}"
        self.move.kv.stored[key] = KvEntry(key=key, value=orjson.dumps(ids))

    def count(self) -> None:
        """Write the counter."""
        held = str(len(self.move.vectors.stored)).encode()
        self.move.kv.stored[COUNTER] = KvEntry(key=COUNTER, value=held)
