"""What a later vector becomes as a point of the collection: its id, payload and values.

A vector of the run keeps the id of its point. A new one gets the UUID that the file store gives it
too (`point_id_of`), so that a second export, or the sync service, means the same point. The
payload is the metadata, with what the rules of the run made of a payload put back. Qdrant
normalises the vectors of a cosine collection when it takes them, so that is done here, by the same
rule: what is restored then reads back as it was sealed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from migrate.mapping.field_paths import Path, parse_path
from migrate.mapping.ids import point_id_of
from migrate.mapping.payload import (
    POINT_ID_FIELD,
    Change,
    Mapped,
    map_payload,
    read_group,
    read_namespace,
    with_shard_key,
)
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.undo import leaves, place_fields, undo_transforms
from migrate.mapping.value_rules import template_fields
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.digest import canonical_metadata, digest_vector
from migrate.model.records import (
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    Vector,
    VectorId,
    VectorKind,
    VectorSpec,
)
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.words import counted

# Qdrant takes a squared length this near to 1 as 1, and does not normalise one this near to 0.
UNIT_TOLERANCE = 1e-6
SHORTEST = float(np.finfo(np.float32).eps)
SHAPES_MAX = 1_000  # payloads that show where a collection has its fields
TIME_FIELD = "last_modified"  # of metadata, as the sync service writes it
ADDED, CHANGED, DELETED = "added", "changed", "deleted"


class FormerPoint(NamedTuple):
    """The point that a vector of the run came from."""

    row: int
    point_id: PointId
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterPoint:
    """A vector that others added or changed, as a point."""

    point_id: PointId
    payload: bytes  # canonical JSON
    values: Float32Matrix  # shape (dimensions,)
    vector_id: VectorId
    change: str  # ADDED or CHANGED
    file: str | None
    digest: bytes  # of the vector as it was read
    namespace: str | None  # of the vector; a point has none
    is_elsewhere: bool  # the payload does not name this namespace by the rules of the run
    length: float | None  # of the values as they were read, where they were normalised
    last_modified: str | None  # TIME_FIELD of the metadata, as JSON


def read_former(
    snapshot: Snapshot, mapping: MappingRules, rows: Sequence[int]
) -> Iterator[FormerPoint]:
    """The points at these rows, which are ascending, with payloads as the mapping sees them."""
    pending = iter(rows)
    row = next(pending, None)
    if row is None:
        return
    for some in snapshot.read(with_vectors=(), first_row=row, end_row=rows[-1] + 1):
        end = some.first_row + len(some.page)
        while row is not None and row < end:
            at = row - some.first_row
            key = None if some.page.shard_keys is None else some.page.shard_keys[at]
            payload = with_shard_key(some.page.payloads[at], mapping, key)
            yield FormerPoint(row, some.page.ids[at], payload)
            row = next(pending, None)


def new_point_id(vector_id: VectorId, id_template: str) -> PointId:
    """The id of the point of a vector that the new side added.

    Where vector ids are point ids (template "{point_id}"), it is that id, if it can be one.
    """
    if id_template == f"{{{POINT_ID_FIELD}}}":
        for id_type in ("uint64", "uuid"):
            try:
                found = PointId.from_text(vector_id, id_type)
            except ValueError:
                continue
            if found.text == vector_id:
                return found
    return PointId.parse(point_id_of(vector_id))


class PointMaker:
    """Makes points of the later vectors of one run."""

    def __init__(
        self,
        mapping: MappingRules,
        files: Mapping[VectorId, str],
        *,
        is_cosine: bool,
        paths: Sequence[Path] = (),
    ) -> None:
        """`files`: the file of vectors whose metadata does not name it, by the KV index.

        `is_cosine`: the collection compares by cosine. `paths`: `payload_paths` of the run.
        """
        self._mapping = mapping
        self._paths = paths
        self._on_metadata = mapping.on_metadata()
        self._files = files
        self._is_cosine = is_cosine

    def point_id(self, vector_id: VectorId) -> PointId:
        """The id of the point of a vector that the new side added."""
        return new_point_id(vector_id, self._mapping.id_template)

    def added(self, vector: Vector) -> LaterPoint:
        """A vector that the run did not write."""
        point_id = self.point_id(vector.id)
        payload = added_payload(vector, point_id, self._mapping, self._paths)
        return self._point(vector, point_id, payload, ADDED)

    def changed(self, vector: Vector, former: FormerPoint) -> LaterPoint:
        """A vector of the run with another content; it keeps the id of its point."""
        payload = returned_payload(vector.metadata or {}, former, self._mapping)
        return self._point(vector, former.point_id, payload, CHANGED)

    def _point(self, vector: Vector, point_id: PointId, payload: bytes, change: str) -> LaterPoint:
        values, length = vector.values, None
        if self._is_cosine:
            values, length = normalised(vector.values)
        return LaterPoint(
            point_id=point_id,
            payload=payload,
            values=values,
            vector_id=vector.id,
            change=change,
            file=self._file(vector),
            digest=digest_vector(vector),
            namespace=vector.namespace or None,
            is_elsewhere=self._is_elsewhere(vector, payload),
            length=length,
            last_modified=_last_modified(vector),
        )

    def _is_elsewhere(self, vector: Vector, payload: bytes) -> bool:
        fields = decode_json(payload)
        assert isinstance(fields, dict)
        return (vector.namespace or None) != read_namespace(fields, self._mapping)

    def _file(self, vector: Vector) -> str | None:
        named = read_group(vector.metadata or {}, self._on_metadata)
        return self._files.get(vector.id) if named is None else named


def added_payload(
    vector: Vector, point_id: PointId, mapping: MappingRules, paths: Sequence[Path]
) -> bytes:
    """The payload of a vector that the run did not write, as canonical JSON.

    Through transforms, a field goes to where payloads of the collection have it. The field with the
    whole id is left out where the rest makes the id: a later plan makes that field itself.
    """
    fields = _in_one_form(vector.metadata or {})
    if mapping.transforms:
        fields = place_fields(mapping.transforms, paths, fields)
    payload = encode_canonical_json(fields)
    if mapping.long_id_field not in fields:
        return payload
    rest = {name: value for name, value in fields.items() if name != mapping.long_id_field}
    bare = encode_canonical_json(rest)
    mapped = map_payload(point_id, bare, mapping)
    return bare if isinstance(mapped, Mapped) and mapped.vector_id == vector.id else payload


def payload_paths(run: RunFolder) -> tuple[Path, ...]:
    """Where payloads of the collection have their fields; nothing without transforms.

    The fields that the rules of the mapping name come first, then those of the first payloads.
    """
    mapping = run.plan.mapping
    if not mapping.transforms:
        return ()
    keys = (mapping.group_key, mapping.order_key, mapping.hash_key, mapping.hash_of)
    in_templates = template_fields(mapping.id_template + mapping.namespace)
    named = (parse_path(one) for one in (*keys, *in_templates))
    found = dict.fromkeys(path for path in named if path is not None)
    end_row = min(run.snapshot.manifest.points, SHAPES_MAX)
    for some in run.snapshot.read(with_vectors=(), first_row=0, end_row=end_row):
        for payload in some.page.payloads:
            fields = decode_json(payload)
            assert isinstance(fields, dict)
            found.update(dict.fromkeys(path for path, _ in leaves(fields)))
    return tuple(found)


def returned_payload(
    metadata: Mapping[str, object], former: FormerPoint, mapping: MappingRules
) -> bytes:
    """The payload of a changed vector, as canonical JSON.

    A field that the new side did not change is as in the former payload: the metadata may hold it
    in another form, cut or not at all, as the plan declared. Through transforms, a changed field
    goes back to where the payload had it, and to the top when the payload had it nowhere.
    """
    before = decode_json(former.payload)
    mapped = map_payload(former.point_id, former.payload, mapping)
    assert isinstance(before, dict)
    assert isinstance(mapped, Mapped), "the plan let the point pass"
    sent = decode_json(mapped.metadata)
    assert isinstance(sent, dict)
    if mapping.transforms:
        there, now = _in_one_form(sent), _in_one_form(metadata)
        return encode_canonical_json(undo_transforms(mapping.transforms, before, there, now))
    left_out = {field for change, field in mapped.changes if change is Change.NULL_LEFT_OUT}
    kept = {
        name: value
        for name, value in before.items()
        if (name in left_out and name not in metadata)
        or (name in metadata and name in sent and _same(metadata[name], sent[name]))
    }
    made = mapping.long_id_field  # the plan's own field, not the payload's
    changed = {
        name: _plain(value)
        for name, value in metadata.items()
        if name not in kept and (name != made or not _same(value, sent.get(made)))
    }
    return encode_canonical_json({**changed, **kept})


def _last_modified(vector: Vector) -> str | None:
    time = (vector.metadata or {}).get(TIME_FIELD)
    return None if time is None else encode_canonical_json(time).decode()


def _same(one: object, other: object) -> bool:
    return _text(one) == _text(other)


def _text(value: object) -> bytes:
    return canonical_metadata({"": value})


def _plain(value: object) -> object:
    """The value with each number in one form."""
    return _in_one_form({"": value})[""]


def _in_one_form(metadata: Mapping[str, object]) -> dict[str, object]:
    fields = decode_json(canonical_metadata(dict(metadata)))
    assert isinstance(fields, dict)
    return fields


def normalised(values: Float32Matrix) -> tuple[Float32Matrix, float | None]:
    """The values as a cosine collection stores them, and their length where it is not 1."""
    squared = float(np.dot(values.astype(np.float64), values.astype(np.float64)))
    if squared < SHORTEST or abs(squared - 1) <= UNIT_TOLERANCE / 2:
        return values, None
    length = float(np.sqrt(squared))
    return (values.astype(np.float64) / length).astype(np.float32), length


def chosen_spec(run: RunFolder) -> VectorSpec:
    """The vector of the collection that the run moved."""
    spec = run.snapshot.manifest.spec(run.plan.values.vector_name)
    assert spec is not None, "the plan chose a vector of the collection"
    return spec


def later_specs(run: RunFolder) -> tuple[VectorSpec, ...]:
    """The vectors of an export: those of the collection, or the shorter one of the index.

    A restore takes only points of a collection with exactly its vectors, so a point has all vector
    names; the new side knows only the one that the run moved.
    """
    spec, dimensions = chosen_spec(run), run.plan.values.dimensions
    if spec.dimensions == dimensions:
        return run.snapshot.manifest.vectors
    return (replace(spec, dimensions=dimensions, datatype="float32"),)


def why_no_return(run: RunFolder) -> str:
    """Why points of the new side cannot be written into the collection; "" when they can."""
    if run.snapshot.manifest.shard_keys is not None:
        return (
            "the collection has custom sharding, and the vector index does not hold the shard key "
            "of a point"
        )
    spec, dimensions = chosen_spec(run), run.plan.values.dimensions
    if spec.dimensions != dimensions:
        return (
            f"the vector index holds {counted(dimensions, 'value')} of a vector, the collection "
            f"{spec.dimensions:,}"
        )
    if spec.datatype == "uint8":
        return "the collection holds uint8 values, the vector index float32"
    return ""


def missing_vectors(run: RunFolder) -> tuple[str, ...]:
    """The vector names of the collection that the new side knows nothing of."""
    chosen = run.plan.values.vector_name
    return tuple(one.name for one in run.snapshot.manifest.vectors if one.name != chosen)


def page_of(points: Sequence[LaterPoint], specs: Sequence[VectorSpec], chosen: str) -> Page:
    """A page of these points, which are in id order; vectors but the chosen one are absent."""
    rows = len(points)
    return Page(
        ids=tuple(point.point_id for point in points),
        payloads=tuple(point.payload for point in points),
        vectors={
            spec.name: DenseColumn(
                np.stack([point.values for point in points]), np.ones(rows, np.bool_)
            )
            if spec.name == chosen
            else _absent(spec, rows)
            for spec in specs
        },
        irregular=(None,) * rows,
    )


def _absent(spec: VectorSpec, rows: int) -> DenseColumn | MultiColumn | SparseColumn:
    match spec.kind:
        case VectorKind.DENSE:
            zeros = np.zeros((rows, spec.dimensions or 0), np.float32)
            return DenseColumn(zeros, np.zeros(rows, np.bool_))
        case VectorKind.MULTI:
            return MultiColumn((None,) * rows)
        case VectorKind.SPARSE:
            return SparseColumn((None,) * rows)
