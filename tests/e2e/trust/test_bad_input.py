"""Bad input ends in quarantine with a reason, or in a clear error with a remedy."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import (
    API_TOKEN,
    Workbench,
    chunk,
    points,
    unit_vectors,
    workbench,
)
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

GOOD = 20
LONG_ID = "f" * 62  # "_0" makes 64 bytes


def _odd_point(payload: object, values: object = None) -> StoredPoint:
    """One point beside twenty good ones; tests that need several give each an id of its own."""
    vector = unit_vectors(1)[0].tolist() if values is None else values
    vectors = {} if values == "absent" else {"": vector}
    return StoredPoint(id=10_000, vectors=vectors, payload=payload)  # type: ignore[arg-type]  # odd on purpose


def _without(key: str) -> dict[str, object]:
    return {name: value for name, value in chunk("odd", 0).items() if name != key}


def _sized(size: int) -> dict[str, object]:
    """A payload whose compact JSON has exactly `size` bytes."""
    bare = len(
        json.dumps(chunk("odd", 0, pad=""), ensure_ascii=False, separators=(",", ":")).encode()
    )
    return chunk("odd", 0, pad="x" * (size - bare))


_NAN = [float("nan"), *([0.1] * (DIMENSIONS - 1))]
_INFINITY = [float("inf"), *([0.1] * (DIMENSIONS - 1))]
_ZERO = [0.0] * DIMENSIONS

QUARANTINED: dict[str, tuple[StoredPoint, str]] = {
    "no file_id": (_odd_point(_without("file_id")), "field_missing"),
    "no chunk_index": (_odd_point(_without("chunk_index")), "field_missing"),
    "no chunk_hash": (_odd_point(_without("chunk_hash")), "field_missing"),
    "no payload": (_odd_point(None), "field_missing"),
    "chunk_index as text": (_odd_point(chunk("odd", 0, chunk_index="1")), "field_type"),
    "chunk_index 1.0": (_odd_point(chunk("odd", 0, chunk_index=1.0)), "field_type"),
    "chunk_index true": (_odd_point(chunk("odd", 0, chunk_index=True)), "field_type"),
    "chunk_index -1": (_odd_point(chunk("odd", 0, chunk_index=-1)), "field_range"),
    "file_id a list": (_odd_point({**chunk("odd", 0), "file_id": ["a"]}), "field_type"),
    "file_id empty": (_odd_point({**chunk("odd", 0), "file_id": ""}), "field_range"),
    "hash too short": (_odd_point(chunk("odd", 0, chunk_hash="ab")), "field_range"),
    "id of 65 bytes": (_odd_point(chunk(LONG_ID + "x", 0)), "id_too_long"),
    "metadata of 10,241 bytes": (_odd_point(_sized(10_241)), "metadata_too_large"),
    "key with a dot": (_odd_point(chunk("odd", 0, **{"a.b": 1})), "bad_key"),
    "key with a quote": (_odd_point(chunk("odd", 0, **{'a"b': 1})), "bad_key"),
    "key with a dollar": (_odd_point(chunk("odd", 0, **{"$a": 1})), "bad_key"),
    "empty key": (_odd_point(chunk("odd", 0, **{"": 1})), "bad_key"),
    "nested twice": (_odd_point(chunk("odd", 0, a={"b": {"c": 1}})), "unrepresentable"),
    "null": (_odd_point(chunk("odd", 0, a=None)), "unrepresentable"),
    "numbers in a list": (_odd_point(chunk("odd", 0, a=[1, 2])), "unrepresentable"),
    "integer beyond 2^53 - 1": (_odd_point(chunk("odd", 0, a=2**53)), "unrepresentable"),
    "lone surrogate": (_odd_point(chunk("odd", 0, a="\ud835")), "invalid_unicode"),
    "space in the key": (_odd_point(chunk("o dd", 0)), "kv_key"),
    "NaN": (_odd_point(chunk("odd", 0), _NAN), "non_finite"),
    "infinity": (_odd_point(chunk("odd", 0), _INFINITY), "non_finite"),
    "zero vector": (_odd_point(chunk("odd", 0), _ZERO), "zero_vector"),
    "missing vector": (_odd_point(chunk("odd", 0), "absent"), "vector_missing"),
    "values too few": (_odd_point(chunk("odd", 0), [0.1] * 7), "dim_mismatch"),
    "the id of another, different": (_odd_point(chunk("file-0000", 3, text="x")), "id_conflict"),
}


@pytest.mark.fault("D01", "D02", "D03", "D04", "D06", "D07", "D08", "D09", "D10")
def test_points_that_cannot_move_are_quarantined_each_with_its_reason(tmp_path: Path) -> None:
    """One move with a point of every kind: exit 3, and the snapshot keeps the points whole."""
    odd = {
        str(number): (replace(point, id=number), reason)
        for number, (point, reason) in enumerate(QUARANTINED.values(), start=10_000)
    }
    stored = [*points(GOOD), *(point for point, _ in odd.values())]
    with workbench(tmp_path, stored) as bench:
        assert bench.run("snapshot").exit_code == 0
        result = bench.run("migrate", "--max-quarantine", str(len(stored)))

        listed = _quarantine(bench)
        compared = bench.run("reconcile")
        held = bench.stored()
    expected = {point_id: reason for point_id, (_, reason) in odd.items()}
    expected["3"] = "id_conflict"  # neither of the two that claim one id is preferred
    assert {entry["point_id"]: entry["reason"] for entry in listed} == expected
    assert len(listed) == len(expected)
    assert 3 == result.exit_code == compared.exit_code
    document = result.document
    assert document["quarantined"] == len(odd) + 1
    assert document["points"] == document["acknowledged"] + document["quarantined"] == len(stored)
    assert len(held) == GOOD - 1
    assert compared.document["verdict"] == "equal"
    assert _snapshot(bench).manifest.points == len(stored)


@pytest.mark.slow
def test_a_plan_has_one_line_for_all_points_left_out_for_one_reason(tmp_path: Path) -> None:
    def left_out(shown: str) -> list[str]:
        return [line for line in shown.splitlines() if line.startswith("left out: ")]

    without_file = [replace(_odd_point(_without("file_id")), id=number) for number in range(9, 50)]
    blank = replace(_odd_point(chunk("a b", 0)), id=10_001)
    stored = [*points(5), *without_file, _odd_point(chunk("odd", 0, chunk_index=-1)), blank]
    with workbench(tmp_path, stored) as bench:
        short = left_out(bench.run("plan", "--details", as_json=False).stdout)
        more = ("--details", "--max-quarantine", "43")
        whole = left_out(bench.run("plan", *more, as_json=False).stdout)
        named = bench.run("plan", "--max-quarantine", "43").document["quarantined_points"]

    [first, last] = short
    assert first.startswith("left out: 9, 10, 11 and 8 more: field_missing file_id: ")
    assert last == (
        "left out: 43 points in all, the lines above are about 11 of them; "
        "`--json --max-quarantine 43` names all of them"
    )
    assert len(named) == 43
    [many, one, key] = whole
    assert many.startswith("left out: 9, 10, 11 and 38 more: field_missing file_id: ")
    assert one.startswith("left out: 10000: field_range chunk_index: ")
    assert key.startswith("left out: 10001: kv_key: ")


def _quarantine(bench: Workbench) -> list[dict[str, Any]]:
    (path,) = bench.directory.glob("*/runs/*/quarantine.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def _snapshot(bench: Workbench) -> Snapshot:
    (manifest,) = bench.directory.glob("*/manifest.json")
    return Snapshot(LocalFolder(manifest.parent))


class _Twice(dict[str, object]):
    """A payload that is written with its text twice, differently."""

    @override
    def items(self) -> list[tuple[str, object]]:  # type: ignore[override]  # json.dumps asks for it
        return [*super().items(), ("text", "another")]


@pytest.mark.slow
@pytest.mark.fault("D11")
def test_of_a_key_that_stands_twice_no_value_is_chosen_in_silence(tmp_path: Path) -> None:
    """The point is left out, and the snapshot keeps both values."""
    with workbench(tmp_path, [*points(GOOD), _odd_point(_Twice(chunk("odd", 0)))]) as bench:
        result = bench.move()

        (entry,) = _quarantine(bench)
        kept = [
            row for rows in _snapshot(bench).read(with_vectors=()) for row in rows.page.irregular
        ]
        assert bench.run("reconcile").document["verdict"] == "equal"
    assert (result.exit_code, entry["reason"], entry["point_id"]) == (3, "duplicate_key", "10000")
    assert kept[-1] is not None
    assert kept[-1].count(b"another") == kept[-1].count(b"chunk 0 of odd") == 1


@pytest.mark.slow
@pytest.mark.fault("D11")
@pytest.mark.parametrize(("rule", "stays"), [("warn", False), ("quarantine", True)])
def test_a_hash_that_is_not_its_texts_counts_or_stays_behind(
    tmp_path: Path, rule: str, *, stays: bool
) -> None:
    odd = _odd_point({**chunk("odd", 0), "text": "edited since"})
    options = {"Q2V_MAPPING_HASH_OF": "text", "Q2V_MAPPING_HASH_MISMATCH": rule}
    with workbench(tmp_path, [*points(GOOD), odd], settings=options) as bench:
        planned = bench.run("plan").document
        moved = bench.move()

        assert len(bench.stored()) == GOOD + (not stays)
    assert planned["hash_mismatches"] == (0 if stays else 1)
    assert planned["quarantined"] == ({"hash_mismatch": 1} if stays else {})
    assert moved.exit_code == (3 if stays else 0)


@pytest.mark.slow
@pytest.mark.fault("D05")
def test_of_equal_points_with_one_target_id_the_first_moves(tmp_path: Path) -> None:
    stored = points(GOOD)
    twin = StoredPoint(id=10_000, vectors=stored[3].vectors, payload=stored[3].payload)
    with workbench(tmp_path, [*stored, twin]) as bench:
        result = bench.move()

        assert [(e["reason"], e["point_id"]) for e in _quarantine(bench)] == [
            ("duplicate", "10000")
        ]
        assert len(bench.stored()) == GOOD
    assert result.exit_code == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "payload", [chunk(LONG_ID, 0), _sized(10_240), chunk("odd", 0, a={"b": "c", "d": ["e"]})]
)
def test_what_is_just_within_the_limits_moves(tmp_path: Path, payload: dict[str, object]) -> None:
    """64 bytes of id, 10,240 bytes of metadata, one level of nesting."""
    with workbench(tmp_path, [*points(GOOD), _odd_point(payload)]) as bench:
        result = bench.move()

        assert len(bench.stored()) == GOOD + 1
        assert bench.run("reconcile").exit_code == 0
    assert result.exit_code == 0


@pytest.mark.slow
def test_a_waived_reason_is_no_failure(tmp_path: Path) -> None:
    odd = _odd_point(chunk("odd", 0), _ZERO)
    with workbench(tmp_path, [*points(GOOD), odd]) as bench:
        bench.run("snapshot")

        result = bench.run("migrate", "--waive", "zero_vector")

        assert bench.run("reconcile").exit_code == 0
    assert (result.exit_code, result.document["quarantined"]) == (0, 1)


@pytest.mark.slow
def test_who_is_to_accept_a_reason_is_told_which(tmp_path: Path) -> None:
    """After the migrate, in the status, and as a command that works as it is printed."""
    odd = [_odd_point(chunk("odd", 0), _ZERO), replace(_odd_point(chunk("a b", 0)), id=10_001)]
    with workbench(tmp_path, [*points(GOOD), *odd]) as bench:
        bench.run("snapshot")
        moved = bench.run("migrate", as_json=False)
        bench.run("reconcile")
        status, asked = bench.run("status", as_json=False), bench.run("status").document["next"]
        [command] = re.findall(r"`q2v (migrate --waive [^`]*)`", asked)
        flags = command.split(" --dir")[0].split()
        accepted = bench.run(*flags)

    for shown in (moved, status):
        assert re.search(r"quarantined +2 \(\w+ 1, \w+ 1\)", shown.stdout), shown.stdout
    assert "exit 3: 2 points are left out for reasons that were not accepted" in moved.stdout
    assert set(flags) == {"migrate", "--waive", "zero_vector", "kv_key"}
    assert accepted.exit_code == 0, accepted.stderr


@pytest.mark.slow
def test_a_declared_change_is_made_counted_and_only_that(tmp_path: Path) -> None:
    odd = _odd_point(chunk("odd", 0, gone=None))
    with workbench(tmp_path, [*points(GOOD), odd]) as bench:
        planned = bench.run("plan", "--nulls", "leave_out")
        bench.run("snapshot")
        result = bench.run("migrate", "--nulls", "leave_out")

        metadata = bench.stored()["odd_0"][1]
        bench.environment["Q2V_MAPPING_NULLS"] = "leave_out"
        assert bench.run("reconcile").exit_code == 0
    assert result.exit_code == 0
    assert planned.document["changes"] == {"null_left_out:gone": 1}
    assert chunk("odd", 0) == metadata


def test_too_many_bad_points_stop_the_run_before_the_first_write(tmp_path: Path) -> None:
    stored = [StoredPoint(id=n, vectors=p.vectors, payload={}) for n, p in enumerate(points(30))]
    with workbench(tmp_path, stored) as bench:
        before = bench.state()

        result = bench.move()

        assert before == bench.state()
    assert result.exit_code == 3
    assert "at most 10 may be left out" in result.document["error"]["what"]


@pytest.mark.fault("P01")
def test_more_dimensions_than_the_target_takes_are_refused_with_both_ways_out(
    tmp_path: Path,
) -> None:
    stored = points(3, dimensions=3_072)
    with workbench(tmp_path, stored, dimensions=3_072, provision=False) as bench:
        result = bench.run("plan")

    error = result.document["error"]
    assert result.exit_code == 5
    assert "3072" in error["what"]
    assert "1536" in error["what"]
    assert "matryoshka" in error["next"]
    assert "re-embed" in error["next"]


@pytest.mark.fault("P01")
def test_an_index_of_other_dimensions_is_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        bench.sandbox.store.create_vector_index(INDEX, 32, "cosine")
        bench.environment["Q2V_KV_NAMESPACE_ID"] = bench.sandbox.store.create_kv_namespace("kv")

        result = bench.move()

    assert result.exit_code == 5
    assert "32" in result.document["error"]["what"]
    assert "64" in result.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("P02")
def test_several_named_vectors_want_a_choice_and_all_are_kept(tmp_path: Path) -> None:
    vectors = unit_vectors(4)
    stored = [
        StoredPoint(
            id=n, vectors={"a": vectors[n].tolist(), "b": [1.0, 2.0]}, payload=chunk("f", n)
        )
        for n in range(4)
    ]
    sizes: dict[str, object] = {
        "a": {"size": 64, "distance": "Cosine"},
        "b": {"size": 2, "distance": "Dot"},
    }
    collection = StoredCollection(points=stored, vectors=sizes)
    with workbench(tmp_path, []) as bench, rest_server(collection) as server:
        bench.environment.update(QDRANT_URL=server.url, QDRANT_API_KEY="")
        refused = bench.move()
        bench.environment["Q2V_VECTOR_NAME"] = "a"
        moved = bench.run("migrate")

        assert len(bench.stored()) == 4
    assert (refused.exit_code, moved.exit_code) == (5, 0)
    assert "'a' (dense), 'b' (dense)" in refused.document["error"]["what"]


def test_a_wrong_collection_name_is_answered_with_the_right_ones(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        result = bench.run("snapshot", "--collection", "chunkz")

    assert result.exit_code == 5
    assert "chunks" in result.document["error"]["what"] + result.document["error"]["next"]


@pytest.mark.fault("N11")
def test_a_wrong_token_ends_at_once_and_is_never_shown(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        bench.run("snapshot")
        bench.environment["CLOUDFLARE_API_TOKEN"] = "wrong-token-4711-0815"

        result = bench.run("migrate")

    assert result.exit_code == 6
    assert "wrong-token" not in result.stdout + result.stderr


@pytest.mark.usefixtures("short_pauses")
def test_an_unreachable_source_ends_with_its_own_code(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        bench.environment["QDRANT_URL"] = "http://127.0.0.1:9"

        result = bench.run("plan")

    assert result.exit_code == 7


def test_nothing_configured_is_a_usage_error_with_every_name(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        for name in ("QDRANT_URL", "CLOUDFLARE_API_TOKEN", "Q2V_VECTOR_INDEX"):
            bench.environment[name] = ""

        results = [bench.run(name) for name in ("snapshot", "migrate", "reconcile")]

    assert [result.exit_code for result in results] == [2, 2, 2]
    assert "QDRANT_URL" in results[0].document["error"]["next"]
    assert "`q2v init" in results[0].document["error"]["next"]
    assert "CLOUDFLARE_API_TOKEN" in results[1].document["error"]["next"]


@pytest.mark.fault("X08")
def test_another_host_is_refused_before_the_token_is_read(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        bench.run("snapshot")
        bench.environment["CLOUDFLARE_API_BASE_URL"] = "https://api.cloudflare.com.evil/client/v4"
        bench.environment["CLOUDFLARE_API_TOKEN"] = ""
        bench.environment["CLOUDFLARE_API_TOKEN_FILE"] = str(tmp_path / "there-is-no-such-file")

        result = bench.run("migrate")

    assert result.exit_code == 2
    assert "api.cloudflare.com.evil" in result.document["error"]["what"]


@pytest.mark.fault("S07", "G16")
def test_a_part_cut_short_is_refused_and_named(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        bench.run("snapshot")
        (part,) = bench.directory.glob("*/parts/*.parquet")
        os.truncate(part, part.stat().st_size - 1)

        results = [bench.run(name) for name in ("verify", "migrate")]

        assert bench.uploads() == []
    assert [result.exit_code for result in results] == [10, 10]
    assert part.name in results[0].document["error"]["what"]


def test_one_flipped_bit_anywhere_in_a_part_is_found(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        bench.run("snapshot")
        (part,) = bench.directory.glob("*/parts/*.parquet")
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)

        assert bench.run("verify").exit_code == 10


@pytest.mark.fault("G14")
def test_an_unknown_format_version_is_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.run("snapshot")
        (manifest,) = bench.directory.glob("*/manifest.json")
        manifest.write_text(manifest.read_text().replace('"format":1', '"format":99'))

        assert bench.run("migrate").exit_code == 12


@pytest.mark.slow
@pytest.mark.fault("G14", "U09")
def test_a_run_is_not_reconciled_with_another_target(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.move()
        bench.sandbox.store.create_vector_index("other", DIMENSIONS, "cosine")

        assert bench.run("reconcile", "--vector-index", "other").exit_code == 12


@pytest.mark.slow
@pytest.mark.fault("G14")
def test_a_run_under_a_foreign_snapshot_is_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.move()
        bench.collection.points.pop()
        bench.run("snapshot")
        older, newer = sorted(path.parent for path in bench.directory.glob("*/manifest.json"))
        (older / "runs").rename(newer / "runs")

        assert bench.run("reconcile").exit_code == 12


@pytest.mark.slow
@pytest.mark.fault("U07")
def test_an_index_that_was_created_anew_is_not_the_planned_one(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.move()
        other = tmp_path / "again"
        with workbench(other, []) as fresh:
            bench.environment["CLOUDFLARE_API_BASE_URL"] = fresh.sandbox.base_url
            namespace = bench.environment["Q2V_KV_NAMESPACE_ID"]
            assert namespace != fresh.namespace_id

            result = bench.run("reconcile")

    assert result.exit_code == 5
    assert "not the one that the plan names" in result.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("U10")
def test_metadata_indexes_have_to_exist_before_the_first_upload(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.environment["Q2V_TARGET_METADATA_INDEXES"] = "file_id:string,chunk_index:number"

        refused = bench.move()
        bench.run("provision")
        moved = bench.run("migrate")

    assert (refused.exit_code, moved.exit_code) == (5, 0)
    assert "chunk_index" in refused.document["error"]["what"]


@pytest.mark.fault("P04")
def test_a_window_too_short_for_the_work_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.run("snapshot")

        result = bench.run("migrate", "--deadline-s", "10")

    assert result.exit_code == 5
    assert "reconcile with 5 of 5 contents" in result.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("X01", "X03")
def test_no_secret_and_no_open_file_is_left_behind(tmp_path: Path) -> None:
    """No form of the token in any file or output; files for this user only."""
    with workbench(tmp_path, [*points(20), _odd_point({})]) as bench:
        outputs = [bench.run(*words) for words in (["plan"], ["snapshot"], ["migrate"])]
        bench.sandbox.store.put_vector(INDEX, "stray", np.ones(DIMENSIONS, np.float32), {})
        outputs += [bench.run(*words) for words in (["reconcile"], ["rollback"], ["status"])]
        outputs.append(bench.run("rollback", "--execute", as_json=False))

        for path in bench.files():
            assert path.stat().st_mode & 0o777 == 0o600, path
            content = path.read_bytes()
            assert API_TOKEN.encode() not in content, path
            assert bench.sandbox.account_id.encode() not in content, path
        for folder in (path for path in bench.directory.rglob("*") if path.is_dir()):
            assert folder.stat().st_mode & 0o777 == 0o700, folder
    for output in outputs:
        assert API_TOKEN not in output.stdout + output.stderr


@pytest.mark.slow
@pytest.mark.fault("F20")
def test_a_counter_key_that_a_file_gets_ends_in_5_before_anything_is_written(
    tmp_path: Path,
) -> None:
    settings = {"Q2V_KV_COUNTER_KEY": "file:file-0001"}
    with workbench(tmp_path, points(GOOD), settings=settings) as bench:
        planned = bench.run("plan")
        moved = bench.move()
        stored, entries = bench.stored(), bench.entries()
        bench.environment["Q2V_KV_COUNTER_KEY"] = "files"
        again = bench.run("migrate")

    assert (planned.exit_code, moved.exit_code) == (5, 5)
    assert "kv.counter_key" in moved.stderr
    assert "file-0001" in moved.stderr
    assert (stored, entries) == ({}, {})
    assert again.exit_code == 0


@pytest.mark.fault("F20")
def test_uploads_too_small_for_a_single_vector_end_in_2_before_any_point_is_read(
    tmp_path: Path,
) -> None:
    settings = {"Q2V_LIMITS_BODY_BYTES": str(2 * DIMENSIONS)}
    with workbench(tmp_path, points(GOOD), settings=settings) as bench:
        planned = bench.run("plan")

    assert planned.exit_code == 2
    assert "limits.body_bytes" in planned.stderr
