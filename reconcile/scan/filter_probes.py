"""Choose what filters are asked for: values of the snapshot, and vectors that hold them."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from migrate.mapping.metadata_indexes import Indexed, indexed_value, look_up
from migrate.model.canonical import decode_json
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.run.folder import RunFolder
from migrate.upload.mapped import MappedRows, read_mapped

WINDOWS = 3  # places of the snapshot that values are taken from
WINDOW_ROWS = 1_000
ASKED_MAX = QUERY_IDS_MAX // 2  # ids that one answer has to hold; it has room for others


@dataclass(slots=True)
class Probe:
    """A value, and vectors that are known to hold it."""

    value: Indexed
    values: list[float]  # of the first of these vectors
    ids: list[VectorId] = field(default_factory=list)


def choose_probes(
    run: RunFolder, wanted: Mapping[str, str], left_out: AbstractSet[str]
) -> dict[str, list[Probe]]:
    """Property -> at most one value for each place of the snapshot, the rarest of its window.

    A property that none of these windows holds is looked for in the whole snapshot. `wanted` is
    property -> type; ids in `left_out` are not asked for.
    """
    choice = _Choice(run, left_out, {name: [] for name in wanted})
    points = run.snapshot.manifest.points
    for first, end in _windows(points):
        choice.look_in(wanted, first, end)
    for first in range(0, points, WINDOW_ROWS):
        open_ones = {name: kind for name, kind in wanted.items() if not choice.probes[name]}
        if not open_ones:
            break
        choice.look_in(open_ones, first, min(points, first + WINDOW_ROWS))
    return choice.probes


def _windows(points: int) -> Iterator[tuple[int, int]]:
    """Rows at the start, in the middle and at the end; none twice."""
    third = -(-points // WINDOWS)
    for number in range(WINDOWS):
        first, end = number * third, min(points, (number + 1) * third)
        if number == WINDOWS - 1:
            first = max(first, end - WINDOW_ROWS)
        if first < end:
            yield first, min(end, first + WINDOW_ROWS)


class _Choice:
    """The probes chosen so far, window by window."""

    def __init__(
        self, run: RunFolder, left_out: AbstractSet[str], probes: dict[str, list[Probe]]
    ) -> None:
        self.probes = probes
        self._run = run
        self._excluded = run.excluded_rows()
        self._left_out = left_out

    def look_in(self, wanted: Mapping[str, str], first: int, end: int) -> None:
        """Choose one more value for each property that these rows hold."""
        held: dict[str, dict[Indexed, Probe]] = {name: {} for name in wanted}
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
            former = {probe.value for probe in self.probes[name]}
            fresh = [probe for value, probe in probes.items() if value not in former]
            if fresh:
                self.probes[name].append(min(fresh, key=lambda probe: len(probe.ids)))

    def _collect(
        self, rows: MappedRows, wanted: Mapping[str, str], held: dict[str, dict[Indexed, Probe]]
    ) -> None:
        for position, (vector_id, metadata) in enumerate(zip(rows.ids, rows.metadata, strict=True)):
            if vector_id in self._left_out:
                continue
            fields = decode_json(metadata)
            assert isinstance(fields, dict), "metadata is an object"
            for name, kind in wanted.items():
                value = indexed_value(look_up(fields, name), kind)
                if value is None:
                    continue
                probes = held[name]
                if value not in probes:
                    probes[value] = Probe(value, rows.values[position].tolist())
                if len(probes[value].ids) < ASKED_MAX:
                    probes[value].ids.append(vector_id)
