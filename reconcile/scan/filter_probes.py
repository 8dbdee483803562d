"""Choose values of the snapshot to filter by, each with vectors that a filter has to find."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from migrate.mapping.metadata_indexes import Indexed, indexed_value, look_up
from migrate.model.canonical import decode_json
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.run.folder import RunFolder
from migrate.upload.mapped import MappedRows, read_mapped

WINDOWS = 3  # ranges of rows that values are taken from
WINDOW_ROWS = 1_000
KNOWN_MAX = WINDOWS * WINDOW_ROWS  # vectors whose values are kept
ASKED_MAX = QUERY_IDS_MAX // 2  # ids that one answer has to contain; the rest is for other vectors


@dataclass(slots=True)
class Probe:
    """A value of a property, and vectors of one namespace whose metadata holds it."""

    value: Indexed
    namespace: str | None
    values: list[float]  # of the first of these vectors
    ids: list[VectorId] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a metadata index is asked for, and what its answers have to be."""

    probes: list[Probe] = field(default_factory=list)
    # What the index holds of the vectors of the windows; None: nothing of this one.
    known: dict[VectorId, Indexed | None] = field(default_factory=dict)

    def wrong(self, probe: Probe, answer: Iterable[VectorId]) -> set[VectorId]:
        """The vectors of an answer that hold another value than the one that was asked for."""
        value = probe.value
        return {one for one in answer if one in self.known and self.known[one] != value}


def choose_probes(
    run: RunFolder, wanted: Mapping[str, str], left_out: AbstractSet[str]
) -> dict[str, Sample]:
    """Property -> probes: the rarest value of each window of the snapshot, without repetitions.

    If no window holds a property, the snapshot is searched for it from its start. A property that
    no vector holds has no probes. `wanted` is property -> type; `left_out` are ids that no probe
    contains, and of which nothing is known.
    """
    choice = _Choice(run, left_out, {name: Sample() for name in wanted})
    points = run.snapshot.manifest.points
    for first, end in _windows(points):
        choice.search(wanted, first, end)
    for first in range(0, points, WINDOW_ROWS):
        without = {name: kind for name, kind in wanted.items() if not choice.samples[name].probes}
        if not without:
            break
        choice.search(without, first, min(points, first + WINDOW_ROWS))
    return choice.samples


def _windows(points: int) -> Iterator[tuple[int, int]]:
    """First and end row of each window: at the start, in the middle, at the end; no overlap."""
    third = -(-points // WINDOWS)
    for number in range(WINDOWS):
        first, end = number * third, min(points, (number + 1) * third)
        if number == WINDOWS - 1:
            first = max(first, end - WINDOW_ROWS)
        if first < end:
            yield first, min(end, first + WINDOW_ROWS)


_Held = dict[str, dict[tuple[Indexed, str | None], Probe]]  # property -> value, namespace -> probe


class _Choice:
    """The probes chosen so far, per property."""

    def __init__(
        self, run: RunFolder, left_out: AbstractSet[str], samples: dict[str, Sample]
    ) -> None:
        self.samples = samples
        self._run = run
        self._excluded = run.excluded_rows()
        self._left_out = left_out

    def search(self, wanted: Mapping[str, str], first: int, end: int) -> None:
        """Choose one further value of each property that these rows hold."""
        held: _Held = {name: {} for name in wanted}
        plan = self._run.plan
        for rows in read_mapped(
            self._run.snapshot,
            plan.mapping,
            plan.values,
            self._excluded,
            first_row=first,
            end_row=end,
        ):
            self._collect(rows, wanted, held)
        for name, probes in held.items():
            chosen = self.samples[name].probes
            former = {(probe.value, probe.namespace) for probe in chosen}
            fresh = [probe for place, probe in probes.items() if place not in former]
            if fresh:
                chosen.append(min(fresh, key=lambda probe: len(probe.ids)))

    def _collect(self, rows: MappedRows, wanted: Mapping[str, str], held: _Held) -> None:
        columns = (rows.ids, rows.metadata, rows.namespaces)
        for position, (vector_id, metadata, namespace) in enumerate(zip(*columns, strict=True)):
            if vector_id in self._left_out:
                continue
            fields = decode_json(metadata)
            assert isinstance(fields, dict), "metadata is an object"
            for name, kind in wanted.items():
                value = indexed_value(look_up(fields, name), kind)
                known = self.samples[name].known
                if len(known) < KNOWN_MAX:
                    known[vector_id] = value
                if value is None:
                    continue
                probes, place = held[name], (value, namespace)
                if place not in probes:
                    probes[place] = Probe(value, namespace, rows.values[position].tolist())
                if len(probes[place].ids) < ASKED_MAX:
                    probes[place].ids.append(vector_id)
