"""A difference that reads vectors only where a payload is another, and says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from migrate.errors import ArtefactDamagedError, MigrationError
from migrate.model.pages import take_rows
from migrate.model.records import DenseColumn, Page, PointId
from migrate.model.sealed_json import unseal_json
from migrate.snapshot.chain.range_changes import BRIDGED_POINTS
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import decode_manifest, encode_manifest
from migrate.snapshot.sealed.verify import verify_points
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.tiers import examples
from tests.migrate.snapshot.test_difference import (
    FROZEN,
    MOVING,
    POINTS,
    differ,
    edit,
    edits,
    held,
    take,
)
from tests.migrate.snapshot.test_take import PartlyUnreadable

PAYLOADS = replace(MOVING, payload_only=True)
PAYLOADS_FROZEN = replace(FROZEN, payload_only=True)


class TunedSource(MemorySource):
    """A source whose vectors can change while the payloads stay; counts what it gives whole."""

    def __init__(self, points: dict[int, dict[str, object]]) -> None:
        super().__init__(points)
        self.tuned: set[int] = set()
        self.irregular: set[int] = set()  # with a vector that fits no column
        self.given_whole: list[int] = []

    @override
    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        page = super().read_points(start, limit=limit)
        numbers = [point_id.number for point_id in page.ids]
        self.given_whole += numbers
        column = page.vectors[""]
        assert isinstance(column, DenseColumn)
        values = column.values.copy()
        values[[number in self.tuned for number in numbers], 3] = 0.75
        return replace(
            page,
            vectors={"": DenseColumn(values, np.ones(len(page), np.bool_))},
            irregular=tuple(b'{"":[1]}' if n in self.irregular else None for n in numbers),
        )


@pytest.mark.slow
@settings(max_examples=examples(12))
@given(chain=st.lists(edits, min_size=1, max_size=3), frozen=st.booleans())
def test_payload_changes_give_the_chain_of_a_catch_up_that_reads_everything(
    tmp_path_factory: pytest.TempPathFactory, chain: list[dict[int, int | None]], frozen: bool
) -> None:
    folder = tmp_path_factory.mktemp("payloads")
    source = MemorySource(chunk_payloads(POINTS))
    whole = take(source, folder / "whole")
    payloads = take(source, folder / "payloads")
    for step in chain:
        edit(source, step)
        usual, whole = differ(source, whole, FROZEN if frozen else MOVING)
        found, payloads = differ(source, payloads, PAYLOADS_FROZEN if frozen else PAYLOADS)

        assert (found.added, found.changed, found.deleted) == (
            usual.added,
            usual.changed,
            usual.deleted,
        )
        assert found.sealed == usual.sealed
        assert payloads.manifest.payload_only == found.sealed or not found.sealed

    assert held(payloads) == held(whole)
    assert payloads.manifest.set_digest == whole.manifest.set_digest
    assert payloads.manifest.points == whole.manifest.points
    assert [change.kind for change in payloads.changes()] == [
        change.kind for change in whole.changes()
    ]
    verify_points(payloads, Silence())


@pytest.mark.fault("C07")
def test_a_vector_that_changed_alone_is_found_by_the_next_catch_up_that_reads_everything(
    tmp_path: Path,
) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    source.tuned = {130}
    edit(source, {20: 1})

    _, unaware = differ(source, base, PAYLOADS_FROZEN)
    report, aware = differ(source, unaware, FROZEN)

    assert [change.point_id.text for change in unaware.changes()] == ["20"]
    assert [change.point_id.text for change in aware.changes()] == ["130"]
    assert not report.payload_only
    assert held(aware) == held(take(source, tmp_path / "fresh"))


def test_only_points_that_are_new_or_changed_are_read_whole(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    source.given_whole.clear()
    source.reads.clear()
    edit(source, {5: 1, 20: 2, 120: None, 200: 3})

    report, last = differ(source, base, replace(PAYLOADS, page_points=100, part_points=100))

    # 10 lies between 5 and 20: one request for the three.
    assert source.given_whole == [5, 10, 20, 200]
    assert report.read_whole == 4
    what = [what for what, _ in source.reads]
    assert (what.count("payloads"), what.count("points")) == (2, 2)  # the second finds the end
    assert held(last) == held(take(source, tmp_path / "fresh"))


def test_points_far_from_each_other_are_read_one_by_one(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    source.given_whole.clear()
    apart = [10, 10 + 10 * (BRIDGED_POINTS + 2)]
    edit(source, dict.fromkeys(apart, 1))

    differ(source, base, replace(PAYLOADS, page_points=100, part_points=100))

    assert source.given_whole == apart


def test_a_frozen_one_says_that_payloads_were_compared_and_a_whole_one_proves_more(
    tmp_path: Path,
) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path, MOVING)

    first, payloads = differ(source, base, PAYLOADS_FROZEN)
    again, _ = differ(source, payloads, PAYLOADS_FROZEN)
    while_moving, _ = differ(source, payloads, MOVING)
    last, whole = differ(source, payloads, FROZEN)

    assert first.sealed
    assert first.payload_only
    assert (payloads.manifest.second_reading, payloads.manifest.moving) == ("payload", False)
    assert (again.sealed, while_moving.sealed) == (False, False)
    assert last.sealed
    assert (whole.manifest.second_reading, whole.manifest.payload_only) == ("digest", False)


def test_a_whole_proof_is_not_replaced_by_one_of_payloads(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)

    report, last = differ(source, base, PAYLOADS_FROZEN)

    assert not report.sealed
    assert not last.manifest.payload_only


@pytest.mark.fault("C08")
@pytest.mark.parametrize("options", [PAYLOADS, PAYLOADS_FROZEN])
@pytest.mark.parametrize("at", range(2, 22, 4))
def test_after_a_kill_the_reading_begins_again_and_ends_the_same(
    tmp_path: Path, at: int, options: SnapshotOptions
) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {5: 1, 20: 2, 30: None})
    source.reads.clear()

    def kill(number: int) -> None:
        if number == at:
            raise KilledError

    source.before_read = kill
    try:
        differ(source, base, options)
    except KilledError:
        source.before_read = lambda number: None
        differ(source, base, options)
    source.before_read = lambda number: None
    folders = [LocalFolder(path) for path in sorted(tmp_path.iterdir())]

    assert len(folders) == 2
    assert held(Snapshot(folders[1])) == held(take(source, tmp_path / "fresh"))


@pytest.mark.fault("C08")
@pytest.mark.parametrize("options", [PAYLOADS, PAYLOADS_FROZEN])
def test_what_changes_between_a_payload_and_its_vectors_is_as_the_whole_reading_gave_it(
    tmp_path: Path, options: SnapshotOptions
) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {5: 1, 20: 2})
    first_whole = len(source.reads) + 3  # after the collection, the count and one page of payloads

    def write_once(number: int) -> None:
        if number == first_whole:
            edit(source, {10: 9, 12: 3, 20: None})

    source.before_read = write_once
    _, last = differ(source, base, replace(options, page_points=100, part_points=100))

    assert source.reads[first_whole][0] == "points"
    assert held(last) == held(take(source, tmp_path / "fresh"))


@pytest.mark.fault("C08")
def test_a_payload_that_changes_between_the_two_readings_is_read_again(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {20: 7})
    one_page = replace(PAYLOADS_FROZEN, page_points=100, part_points=100)
    second = len(source.reads) + 4  # the collection, the count, payloads and point 20 were read

    def write_once(number: int) -> None:
        if number == second:
            edit(source, {30: 9, 40: None})

    source.before_read = write_once
    _, last = differ(source, base, one_page)

    assert source.reads[second][0] == "payloads"
    assert held(last) == held(take(source, tmp_path / "fresh"))


def test_irregular_points_are_read_whole_each_time(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    source.irregular = {70}
    base = take(source, tmp_path)
    source.given_whole.clear()

    report, _ = differ(source, base, replace(PAYLOADS, page_points=100, part_points=100))
    unchanged = list(source.given_whole)
    source.irregular = set()
    changed, _ = differ(source, base, replace(PAYLOADS, page_points=100, part_points=100))

    assert (report.sealed, unchanged) == (False, [70])
    assert changed.changed == 1


class LostPayloads(PartlyUnreadable):
    """A source that cannot give the points of `poisoned`, with vectors or without."""

    @override
    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        page = self.read_points(start, limit=limit)
        return replace(take_rows(page, 0, len(page)), vectors={})


@pytest.mark.fault("C08")
def test_a_point_that_cannot_be_read_is_named_or_left_out_as_without_the_flag(
    tmp_path: Path,
) -> None:
    source = LostPayloads(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    source.poisoned = frozenset({60})

    with pytest.raises(MigrationError, match="point 60 cannot be read"):
        differ(source, base, PAYLOADS)
    _, left = differ(source, base, replace(PAYLOADS, leave_unreadable=True))
    source.poisoned = frozenset()
    _, back = differ(source, left, PAYLOADS)

    assert left.manifest.unreadable == ("60",)
    assert back.manifest.unreadable == ()
    assert held(back) == held(base)


def test_the_manifest_says_so_in_a_format_of_its_own(tmp_path: Path) -> None:
    source = TunedSource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {20: 1})
    _, usual = differ(source, base, MOVING)
    _, last = differ(source, base, PAYLOADS)
    content = encode_manifest(last.manifest)

    assert last.manifest.format == 4
    assert b'"payload_only":true' in content
    assert b"payload_only" not in encode_manifest(usual.manifest)
    assert decode_manifest(content, where="here") == last.manifest
    with pytest.raises(MigrationError) as refused:  # as a version that knows three formats does
        unseal_json(content, where="here", format_version=(1, 2, 3))
    assert refused.value.exit_code == 12
    assert last.manifest.content_root != replace(last.manifest, payload_only=False).content_root


def test_a_whole_snapshot_cannot_claim_it(tmp_path: Path) -> None:
    base = take(MemorySource(chunk_payloads(POINTS)), tmp_path)
    content = encode_manifest(replace(base.manifest, payload_only=True))

    with pytest.raises(ArtefactDamagedError, match="payload_only without a parent"):
        decode_manifest(content, where="here")
