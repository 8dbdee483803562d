"""Single differences to plant in a finished move, each with the report that it must cause."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from migrate.model.records import KvEntry, VectorId
from tests.harness.move import COUNTER, Move

FILES = 5
PER_FILE = 6
VECTORS = [f"file-{file}_{number}" for file in range(FILES) for number in range(PER_FILE)]
KEYS = [f"file:file-{file}" for file in range(FILES)]


@dataclass(frozen=True)
class Plant:
    """A difference: a function that makes it, and the class that the report must give it."""

    name: str
    drift: str | None  # None: no difference at all
    do: Callable[[Move, str], None]  # called with the id, key or point to change


def payloads() -> dict[int, dict[str, object]]:
    """Points with a field of every type that metadata can have."""
    return {
        10 * (file * PER_FILE + number) + 10: {
            "file_id": f"file-{file}",
            "chunk_index": number,
            "chunk_hash": f"{file * PER_FILE + number:064x}",
            "one": 1,
            "half": 0.5,
            "far": 1.5e17,
            "yes": True,
            "tags": ["a", "b"],
            "nested": {"inner": 1},
            "text": f"text {number} of {file}",
        }
        for file in range(FILES)
        for number in range(PER_FILE)
    }


def _bit(position: int, bit: int) -> Callable[[Move, str], None]:
    def do(move: Move, vector_id: str) -> None:
        held = move.vector(vector_id)
        values = held.values.copy()
        values.view(np.uint32)[position] ^= np.uint32(1 << bit)
        move.put(replace(held, values=values))

    return do


def _metadata(**changed: Any) -> Callable[[Move, str], None]:
    """Change metadata; None removes the field."""

    def do(move: Move, vector_id: str) -> None:
        held = move.vector(vector_id)
        fields = {**(held.metadata or {}), **changed}
        move.put(replace(held, metadata={k: v for k, v in fields.items() if v is not None}))

    return do


def _vector(**changed: Any) -> Callable[[Move, str], None]:
    def do(move: Move, vector_id: str) -> None:
        move.put(replace(move.vector(vector_id), **changed))

    return do


def _remove(move: Move, vector_id: str) -> None:
    del move.vectors.stored[VectorId(vector_id)]


def _stray(move: Move, vector_id: str) -> None:
    move.put(replace(move.vector(vector_id), id=VectorId(f"stray-{vector_id}")))


def _entry(change: Callable[[KvEntry], KvEntry]) -> Callable[[Move, str], None]:
    def do(move: Move, key: str) -> None:
        move.kv.stored[key] = change(move.kv.stored[key])

    return do


def _list(change: Callable[[list[object]], list[object]]) -> Callable[[Move, str], None]:
    return _entry(
        lambda entry: replace(entry, value=orjson.dumps(change(orjson.loads(entry.value))))
    )


def _remove_key(move: Move, key: str) -> None:
    del move.kv.stored[key]


def _stray_key(move: Move, key: str) -> None:
    move.kv.stored[f"{key}-stray"] = KvEntry(key=f"{key}-stray", value=b"[]")


def _counter(
    value: bytes, expiration: int | None = None, metadata: object = None
) -> Callable[[Move, str], None]:
    def do(move: Move, _: str) -> None:
        move.kv.stored[COUNTER] = KvEntry(
            key=COUNTER, value=value, expiration=expiration, metadata=metadata
        )

    return do


def _no_counter(move: Move, _: str) -> None:
    del move.kv.stored[COUNTER]


def _source(**changed: Any) -> Callable[[Move, str], None]:
    def do(move: Move, point: str) -> None:
        move.source.points[int(point)] = {**move.source.points[int(point)], **changed}

    return do


def _source_delete(move: Move, point: str) -> None:
    del move.source.points[int(point)]


def _source_add(move: Move, point: str) -> None:
    move.source.points[int(point) + 1] = deepcopy(move.source.points[int(point)])


OF_VECTORS = [
    Plant("missing", "missing", _remove),
    Plant("extra", "extra", _stray),
    *(
        Plant(f"bit {bit} of value {position}", "mismatched", _bit(position, bit))
        for position, bit in [(0, 0), (0, 22), (0, 23), (0, 30), (0, 31), (3, 0), (3, 31)]
    ),
    Plant("field changed", "mismatched", _metadata(text="other")),
    Plant("field gone", "mismatched", _metadata(text=None)),
    Plant("field added", "mismatched", _metadata(more="x")),
    Plant("no metadata", "mismatched", _vector(metadata=None)),
    Plant("1 as text", "mismatched", _metadata(one="1")),
    Plant("1 as true", "mismatched", _metadata(one=True)),
    Plant("1 as list", "mismatched", _metadata(one=[1])),
    Plant("1 as 1.5", "mismatched", _metadata(one=1.5)),
    Plant("true as 1", "mismatched", _metadata(yes=1)),
    Plant("true as text", "mismatched", _metadata(yes="true")),
    Plant("half off by one bit", "mismatched", _metadata(half=float(np.nextafter(0.5, 1)))),
    Plant("list in another order", "mismatched", _metadata(tags=["b", "a"])),
    Plant("inner 1 as text", "mismatched", _metadata(nested={"inner": "1"})),
    Plant("another namespace", "mismatched", _vector(namespace="elsewhere")),
    Plant("1.5e17 as text", "mismatched", _metadata(far="1.5e17")),
    Plant("1.5e17 off by one double", "mismatched", _metadata(far=150000000000000032)),
    Plant("1 as 1.0", None, _metadata(one=1.0)),  # the same number in JSON
    Plant("1.5e17 as an integer", None, _metadata(far=150000000000000000)),
]
OF_KEYS = [
    Plant("key missing", "kv_missing", _remove_key),
    Plant("key extra", "kv_extra", _stray_key),
    Plant("id gone", "kv_mismatched", _list(lambda ids: ids[1:])),
    Plant("id twice", "kv_mismatched", _list(lambda ids: [*ids, ids[0]])),
    Plant("another id", "kv_mismatched", _list(lambda ids: ["other", *ids[1:]])),
    Plant("another order", "kv_mismatched", _list(lambda ids: ids[::-1])),
    Plant("no JSON", "kv_mismatched", _entry(lambda entry: replace(entry, value=b"[}"))),
    Plant("no list", "kv_mismatched", _entry(lambda entry: replace(entry, value=b'{"a":1}'))),
    Plant("no UTF-8", "kv_mismatched", _entry(lambda entry: replace(entry, value=b"\xff"))),
    Plant(
        "metadata", "kv_mismatched", _entry(lambda entry: replace(entry, metadata={"by": "others"}))
    ),
    Plant(
        "blanks", "kv_mismatched", _entry(lambda entry: replace(entry, value=entry.value + b" "))
    ),
    Plant(
        "expiring", "kv_mismatched", _entry(lambda entry: replace(entry, expiration=4_000_000_000))
    ),
]
OF_COUNTER = [
    Plant("one too many", "counter", _counter(b"31")),
    Plant("one too few", "counter", _counter(b"29")),
    Plant("no counter", "counter", _no_counter),
    Plant("empty", "counter", _counter(b"")),
    Plant("a word", "counter", _counter(b"thirty")),
    Plant("what only Python reads as 30", "counter", _counter(b"3_0")),
    Plant("with a blank", "counter", _counter(b" 30")),
    Plant("with a zero", "counter", _counter(b"030")),
    Plant("a fraction", "counter", _counter(b"30.0")),
    Plant("other digits", "counter", _counter("\u0663\u0660".encode())),
    Plant("expiring counter", "counter", _counter(b"30", 4_000_000_000)),
    Plant("counter with metadata", "counter", _counter(b"30", metadata=1)),
]
OF_SOURCE = [
    Plant("point added", "source_added", _source_add),
    Plant("point deleted", "source_deleted", _source_delete),
    Plant("payload changed", "source_changed", _source(text="other")),
    Plant("payload type changed", "source_changed", _source(one="1")),
    Plant("payload number spelt otherwise", "source_changed", _source(one=1.0)),
    Plant("values changed", "source_changed", _source(shift=1)),
]


def found_as(plant: Plant, target: str) -> str:
    """The id or key that the report must name."""
    if plant.drift == "extra":
        return f"stray-{target}"
    if plant.drift == "kv_extra":
        return f"{target}-stray"
    return str(int(target) + 1) if plant.drift == "source_added" else target
