"""`q2v verify` of an archive: nothing but the archive that was written is ever whole."""

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from migrate.archive.frames import TRAILER_BYTES, encode_trailer
from migrate.archive.tar import END, encode_header, padding
from migrate.errors import ArtefactDamagedError, ForeignStateError, MigrationError, UsageError
from migrate.model.canonical import encode_canonical_json
from migrate.model.sealed_json import seal_json
from migrate.storage.journal_lines import CHAIN_START, encode_line
from tests.harness.world import open_world
from tests.migrate.archive.archives import (
    archive,
    forged,
    in_memory,
    members,
    packed,
    record_of,
    tar_stream,
    unpacked,
    verify,
)

STRIDE = 97  # a prime, so that the bits and places differ from member to member


def inner(content: bytes, pattern: str) -> tuple[str, bytes]:
    """The first member whose path ends so: path below the folder of the archive, and content."""
    return next(
        (path.partition("/")[2], value)
        for path, value in members(content).items()
        if path.endswith(pattern)
    )


def test_the_archive_is_whole(content: bytes) -> None:
    checked = verify(content)

    assert (checked.bytes, checked.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (checked.runs, len(checked.record.chain)) == (2, 2)
    assert (len(checked.record.files), checked.record.final) == (len(members(content)) - 1, True)


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.fault("A01")
def test_no_flipped_bit_passes(content: bytes) -> None:
    for at in {*range(0, len(content), STRIDE), *range(len(content) - TRAILER_BYTES, len(content))}:
        bad = bytearray(content)
        bad[at] ^= 1 << at % 8
        with pytest.raises(ArtefactDamagedError):
            verify(bytes(bad))


@pytest.mark.search
@pytest.mark.fault("A01")
@pytest.mark.parametrize("part", range(8))
def test_no_flipped_byte_passes_wherever_it_is(content: bytes, part: int) -> None:
    for at in range(part, len(content), 8):
        bad = bytearray(content)
        bad[at] ^= 0xFF
        with pytest.raises(ArtefactDamagedError):
            verify(bytes(bad))


@pytest.mark.fault("A01")
def test_no_shorter_and_no_longer_file_passes(content: bytes) -> None:
    for length in {*range(0, len(content), 5 * STRIDE), len(content) - 1}:
        with pytest.raises(ArtefactDamagedError):
            verify(content[:length])
    for more in (b"\0", b"\n", content[-TRAILER_BYTES:], content, bytes(10_240)):
        with pytest.raises(ArtefactDamagedError):
            verify(content + more)
        with pytest.raises(ArtefactDamagedError):
            verify(more + content)


@pytest.mark.fault("A01", "X10")
def test_the_damaged_member_is_named(content: bytes) -> None:
    """Here the packing is right: other bytes of a member lie in whole frames."""
    stream = unpacked(content)
    chance = random.Random(3)
    for path, value in members(content).items():
        if not value or path.endswith("archive.json"):
            continue
        start = stream.index(encode_header(path, len(value))) + 512
        bad = bytearray(stream)
        bad[start + chance.randrange(len(value))] ^= 4
        with pytest.raises(ArtefactDamagedError) as caught:
            verify(packed(bytes(bad)))
        assert path.partition("/")[2] in str(caught.value)
        assert "take another copy" in caught.value.remedy


@pytest.mark.fault("A01")
def test_a_changed_version_number_is_damage_and_a_true_one_is_another_version(
    content: bytes,
) -> None:
    path, sealed = next(iter(members(content).items()))
    fields = json.loads(sealed)
    later = seal_json({**{k: v for k, v in fields.items() if k != "sha256"}, "format": 2})
    rest = list(members(content).items())[1:]
    of_a_later_version = packed(tar_stream([(path, later), *rest]))

    with pytest.raises(ForeignStateError, match="format version 2"):
        verify(of_a_later_version)
    with pytest.raises(ArtefactDamagedError, match=r"archive\.json was changed"):
        verify(of_a_later_version[:-TRAILER_BYTES] + content[-TRAILER_BYTES:])


# --- other files -----------------------------------------------------------------------------


def tar_of_others(change: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    """A tar as Python writes it."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("folder/archive.json")
        info.size = 2
        if change is not None:
            change(info)
        tar.addfile(info, io.BytesIO(b"{}"))
    return held.getvalue()


def gzipped() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    return held.getvalue()


OTHERS = {
    "empty": b"",
    "text": b"an archive\n",
    "zeros": bytes(5_000),
    "tar": tar_of_others(),
    "tar.gz": gzipped(),
    "trailer only": encode_trailer(hashlib.sha256(b"").hexdigest()),
    "tar of others in our frames": packed(tar_of_others()),
    "nothing in our frames": packed(END),
    "plain zstd": pa.Codec("zstd").compress(tar_of_others(), asbytes=True),
    "no json": packed(tar_stream([("folder/archive.json", b"{")])),
    "no seal": packed(tar_stream([("folder/archive.json", b"{}")])),
    "a few fields": packed(tar_stream([("folder/archive.json", seal_json({"format": 1}))])),
    "another first": packed(tar_stream([("folder/other.json", seal_json({"format": 1}))])),
}


@pytest.mark.fault("A03", "X10")
@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_no_archive_is_refused(name: str) -> None:
    with pytest.raises((ArtefactDamagedError, ForeignStateError, UsageError)) as refused:
        verify(OTHERS[name])

    has_nothing_of_one = name in {"text", "zeros", "tar", "tar.gz"}
    assert isinstance(refused.value, UsageError) == has_nothing_of_one


ESCAPES = ("../../escaped", "/escaped", "a/../../../escaped", "-rf", ".hidden", "a\nb")


@pytest.mark.fault("A03", "X04")
@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leads_elsewhere_is_refused_in_the_list_and_as_a_member(
    content: bytes, path: str
) -> None:
    record_path, sealed = next(iter(members(content).items()))
    fields = {k: v for k, v in json.loads(sealed).items() if k != "sha256"}
    listed = {"path": path, "bytes": 3, "sha256": hashlib.sha256(b"bad").hexdigest()}
    named = seal_json({**fields, "files": sorted([*fields["files"], listed], key=_path)})
    rest = list(members(content).items())[1:]
    member = tarfile.TarInfo(path)
    member.size = 3
    hidden = member.tobuf(tarfile.USTAR_FORMAT) + b"bad" + padding(3)

    for bad in (
        packed(tar_stream([(record_path, named), *rest])),
        packed(hidden + unpacked(content)),
        packed(unpacked(content)[: -len(END)] + hidden + END),
        packed(unpacked(content) + hidden + END),
    ):
        with pytest.raises(ArtefactDamagedError):
            verify(bad)


def _path(file: dict[str, object]) -> str:
    return str(file["path"])


@pytest.mark.fault("A03", "X03")
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_refused(content: bytes, kind: bytes) -> None:
    """In place of a file of the list, with its name; and one more."""
    stream = unpacked(content)
    path, value = next((p, v) for p, v in members(content).items() if p.endswith("extra.ids"))
    assert value == b""
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, "/etc/passwd"
    info.mode, info.mtime = 0o600, 315_532_800
    header = info.tobuf(tarfile.USTAR_FORMAT)

    with pytest.raises(ArtefactDamagedError, match=r"extra\.ids"):
        verify(packed(stream.replace(encode_header(path, 0), header)))
    with pytest.raises(ArtefactDamagedError):
        verify(packed(stream[: -len(END)] + header + END))


@pytest.mark.fault("A03")
def test_a_second_file_of_one_name_is_refused(content: bytes) -> None:
    found = list(members(content).items())
    again = found[-1]
    record_path, sealed = found[0]
    fields = {k: v for k, v in json.loads(sealed).items() if k != "sha256"}
    twice = seal_json({**fields, "files": [*fields["files"], fields["files"][-1]]})

    with pytest.raises(ArtefactDamagedError, match=r"follow the last file|are not those"):
        verify(packed(tar_stream([*found, again])))
    with pytest.raises(ArtefactDamagedError, match="not in order"):
        verify(packed(tar_stream([(record_path, twice), *found[1:], again])))


# --- an archive whose own digests fit ----------------------------------------------------------


def test_a_forged_archive_that_changes_nothing_is_the_archive(content: bytes) -> None:
    """What the tests below rest on."""
    assert forged(content, {}) == content


def reseal(**changes: object) -> Callable[[bytes], bytes]:
    """Other members of a sealed JSON file, with the right digest."""

    def change(value: bytes) -> bytes:
        fields = {k: v for k, v in json.loads(value).items() if k != "sha256"}
        return seal_json({**fields, **changes})

    return change


def rechained(value: bytes) -> bytes:
    """A journal without one of its lines, chained anew."""
    lines = [json.loads(line) for line in value.splitlines()]
    del lines[len(lines) // 2]
    chain, out = CHAIN_START, b""
    for entry in lines:
        entry.pop("chain")
        line, chain = encode_line(entry, chain)
        out += line
    return out


FORGERIES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("parts/part-00000.parquet", lambda value: value[:-9] + b"X" + value[-8:], "part-00000"),
    ("parts/part-00000.parquet", lambda value: b"", "part-00000.parquet"),
    ("/changes.parquet", lambda value: value[:-1] + b"X", "changes.parquet"),
    ("/manifest.json", reseal(points=41), "manifest.json"),
    ("/plan.json", reseal(vectors=1), "fingerprint|plan"),
    ("/plan.json", lambda value: value.replace(b'"kv_target"', b'"kv_targeT"'), "plan.json"),
    ("/targets.parquet", lambda value: value + b" ", "targets.parquet"),
    ("/quarantine.jsonl", lambda value: b"{}\n", "quarantine.jsonl"),
    ("/pre-images/kv.parquet", lambda value: value + b" ", "kv.parquet"),
    ("/difference.parquet", lambda value: value + b" ", "difference.parquet"),
    ("/reconcile/001/report.json", reseal(verdict="drift"), "report.json"),
    ("/reconcile/001/extra.ids", lambda value: b"x\n", "extra.ids"),
    ("/reconcile/001/journal.jsonl", lambda value: value[:-20] + value[-19:], "journal.jsonl"),
    ("/runs/{run}/journal.jsonl", lambda value: value[5:], "journal.jsonl"),
    ("/runs/{run}/journal.jsonl", rechained, "journal|run"),
]


@pytest.mark.fault("A06")
@pytest.mark.parametrize(("pattern", "change", "said"), FORGERIES)
def test_what_manifests_plans_and_journals_say_has_to_fit_too(
    content: bytes, pattern: str, change: Callable[[bytes], bytes], said: str
) -> None:
    run = str(record_of(content)["run_id"])
    path, value = inner(content, pattern.format(run=run))
    bad = forged(content, {path: change(value)})

    with pytest.raises((ArtefactDamagedError, ForeignStateError), match=said):
        verify(bad)


@pytest.mark.fault("A06")
@pytest.mark.parametrize("pattern", ["/manifest.json", "parts/part-00000.parquet", "/plan.json"])
def test_a_file_that_the_list_does_not_have_any_more_is_missed(
    content: bytes, pattern: str
) -> None:
    path, _ = inner(content, pattern)
    found = members(content)
    folder, sealed = next(iter(found)).partition("/")[0], next(iter(found.values()))
    fields = {k: v for k, v in json.loads(sealed).items() if k != "sha256"}
    fields["files"] = [file for file in fields["files"] if file["path"] != path]
    rest = [(p, v) for p, v in list(found.items())[1:] if p != f"{folder}/{path}"]

    with pytest.raises((ArtefactDamagedError, ForeignStateError)):
        verify(packed(tar_stream([(f"{folder}/archive.json", seal_json(fields)), *rest])))


@pytest.mark.slow
@pytest.mark.fault("A04", "A06")
def test_final_is_not_believed_unless_it_follows_from_the_files(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
    archive(tmp_path / "snapshots", tmp_path / "a", not_final=True)
    content = (tmp_path / "a").read_bytes()
    _, sealed = next(iter(members(content).items()))
    claimed = reseal(final=True, why_not_final=None)(sealed)

    assert verify(content).record.final is False
    with pytest.raises(
        ArtefactDamagedError, match="it says final, but the run is complete and was"
    ):
        verify(forged(content, {"archive.json": claimed}))


@pytest.mark.fault("A06")
@pytest.mark.parametrize("member", ["chain", "runs"])
def test_what_the_list_says_of_chain_and_runs_has_to_follow_from_the_files(
    content: bytes, member: str
) -> None:
    _, sealed = next(iter(members(content).items()))
    fields = json.loads(sealed)
    fields[member][0]["content_root" if member == "chain" else "phase"] = "other"
    claimed = reseal(**{member: fields[member]})(sealed)

    with pytest.raises(ArtefactDamagedError, match=r"describes (other|another)"):
        verify(forged(content, {"archive.json": claimed}))


# --- what is read ----------------------------------------------------------------------------


def test_it_writes_nothing_and_reads_no_other_file(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, from memory: nothing else is there."""
    monkeypatch.chdir(tmp_path)

    verify(content)

    assert list(tmp_path.iterdir()) == []
    assert str(in_memory(content)).endswith("a.q2v.tar.zst")


@pytest.mark.fault("X10")
@pytest.mark.parametrize("size", [-1, 2**70, "3", None, 1.5, True])
def test_a_size_that_is_none_is_refused(content: bytes, size: object) -> None:
    _, sealed = next(iter(members(content).items()))
    fields = json.loads(sealed)
    fields["files"][0]["bytes"] = size
    claimed = reseal(files=fields["files"])(sealed)

    with pytest.raises(MigrationError):
        verify(forged(content, {"archive.json": claimed}))
    assert encode_canonical_json(fields)
