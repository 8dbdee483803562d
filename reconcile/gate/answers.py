"""Evidence that only the target can give: answers to some queries, and what the token may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from migrate.cloudflare.access import probe_access, verify_token
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.errors import (
    AccessError,
    ArtefactDamagedError,
    LocalStorageError,
    MigrationError,
)
from migrate.mapping.payload import encode_kv_key, group_value
from migrate.model.canonical import decode_json
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.model.stamps import iso_stamp
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.upload.mapped import read_mapped
from migrate.words import counted
from migrate.workers.repeat import doubling, repeat_until
from reconcile.gate.criteria import Criterion, Evidence

SAMPLES = 5  # vectors that are asked for, from the first row to the last
SEARCHED_ROWS = 100  # from a sampled row on, for one that was moved
ATTEMPTS_MAX = 3  # times a question is asked before its answer counts as wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A stored vector, with all vectors of its file."""

    vector_id: VectorId
    values: Sequence[float]
    file: str | None  # None: the vector belongs to no file
    namespace: str | None
    of_file: frozenset[str]


def ask_queries(
    run: RunFolder, target: Target, indexes: Mapping[str, str], runtime: Runtime, *, pause_s: float
) -> Evidence:
    """Ask for stored vectors by their own values, and for files by filter and by KV entry.

    `indexes` are metadata indexes, property -> type: a filter by file is asked when the property
    of the file is one of them. A wrong answer is asked for again after `pause_s` seconds, doubling.
    Raises LocalStorageError.
    """
    try:
        samples = choose_samples(run)
        group = run.plan.mapping.on_metadata().group_key
        questions = _Questions(run, target, by_filter=indexes.get(group))
        runtime.progress.start("asking the target", total=len(samples), unit="vectors")
        wrong = []
        for sample in samples:
            pauses = doubling(pause_s, times=ATTEMPTS_MAX - 1)
            ask = partial(questions.wrong, sample)
            wrong.append(repeat_until(ask, lambda said: not said, pauses, clock=runtime.clock))
            runtime.progress.advance(1)
    except LocalStorageError:
        raise  # this machine's disk says nothing about the target
    except ArtefactDamagedError as error:
        return _evidence(Criterion.QUERIES, None, f"nothing was asked: {error}", runtime)
    except MigrationError as error:
        return _evidence(
            Criterion.QUERIES, None, f"the target could not be asked: {error}", runtime
        )
    found = (
        f"{wrong.count('')} of {len(samples)} sampled vectors find themselves, and their files "
        "exactly their chunks"
    )
    if any(wrong):
        return _evidence(Criterion.QUERIES, False, f"{next(filter(None, wrong))}; {found}", runtime)
    return _evidence(Criterion.QUERIES, bool(samples) or None, found, runtime)


def choose_samples(run: RunFolder) -> list[Sample]:
    """Vectors at equal distances in the snapshot; fewer where rows were left out."""
    points, excluded = run.snapshot.manifest.points, run.excluded_rows()
    starts = sorted({at * max(0, points - 1) // (SAMPLES - 1) for at in range(SAMPLES)})
    chosen: dict[VectorId, tuple[str | None, str | None, list[float]]] = {}
    for start in starts:
        for rows in read_mapped(
            run.snapshot,
            run.plan.mapping,
            run.plan.values,
            excluded,
            first_row=start,
            end_row=min(points, start + SEARCHED_ROWS),
        ):
            if rows.ids:
                sample = (rows.files[0], rows.namespaces[0], rows.values[0].tolist())
                chosen.setdefault(rows.ids[0], sample)
                break
    files = _ids_of_files(run, {file for file, _, _ in chosen.values() if file is not None})
    return [
        Sample(
            vector_id=vector_id,
            values=values,
            file=file,
            namespace=namespace,
            of_file=frozenset() if file is None else files[file],
        )
        for vector_id, (file, namespace, values) in chosen.items()
    ]


def _ids_of_files(run: RunFolder, files: set[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {file: set() for file in files}
    for batch in run.targets(["vector_id", "file"], excluded=run.refused_rows()):
        names, ids = batch.column("file").to_pylist(), batch.column("vector_id").to_pylist()
        for file, vector_id in zip(names, ids, strict=True):
            if file in found:
                found[file].add(vector_id)
    return {file: frozenset(ids) for file, ids in found.items()}


class _Questions:
    """Questions about one sampled vector after the other."""

    def __init__(self, run: RunFolder, target: Target, *, by_filter: str | None) -> None:
        """`by_filter` is the type of the metadata index on the file; None: there is none."""
        self._run = run
        self._target = target
        self._by_filter = by_filter == run.plan.mapping.group_index_type

    def wrong(self, sample: Sample) -> str:
        """What is wrong with the answers; empty when they are right."""
        nearest = self._find(sample, {})
        is_found = sample.vector_id in nearest
        if self._by_filter and sample.file is not None:
            mapping = self._run.plan.mapping.on_metadata()
            group, value = mapping.group_key, group_value(sample.file, mapping)
            where = {group: value}
            of_file = self._find(sample, where)
            # A hundred others may have the same values; among its own file it still is the nearest.
            is_found = is_found or (len(nearest) == QUERY_IDS_MAX and sample.vector_id in of_file)
            if not _are_all(of_file, sample.of_file):
                return (
                    f"a filter {group} = {value!r} finds {counted(len(of_file), 'vector')}, "
                    "expected "
                    f"{min(len(sample.of_file), QUERY_IDS_MAX)} of that file"
                )
        if not is_found:
            return f"vector '{sample.vector_id}' is not found by its own values"
        return "" if sample.file is None else self._wrong_entry(sample, sample.file)

    def _find(self, sample: Sample, where: Mapping[str, str | float | bool]) -> list[VectorId]:
        return self._target.vectors.find(
            sample.values, where, limit=QUERY_IDS_MAX, namespace=sample.namespace
        )

    def _wrong_entry(self, sample: Sample, file: str) -> str:
        key = encode_kv_key(file, self._run.plan.mapping)
        entry = self._target.kv.read([key]).get(key)
        if entry is None:
            return f"KV key '{key}' is not there"
        try:
            listed = decode_json(entry.value)
        except ValueError:
            listed = None
        if not isinstance(listed, list) or set(map(str, listed)) != sample.of_file:
            return (
                f"KV key '{key}' does not list the {counted(len(sample.of_file), 'vector')} "
                "of its file"
            )
        return ""


def _are_all(answer: Sequence[VectorId], expected: frozenset[str]) -> bool:
    """Whether an answer of at most `QUERY_IDS_MAX` ids holds exactly these, or as many as fit."""
    return set(answer) <= expected and len(set(answer)) == min(len(expected), QUERY_IDS_MAX)


def ask_rights(
    http: CloudflareHttp,
    run: RunFolder,
    runtime: Runtime,
    *,
    until_s: float | None,
    key_notes: Sequence[str],
) -> Evidence:
    """Ask what the token may do, by requests that change nothing, and how long it lasts.

    `until_s` is the end of the window, seconds since 1970; None: only now counts. `key_notes` say
    what the key of the source can do beyond reading; they are shown, and decide nothing. Raises
    LocalStorageError.
    """
    try:
        state = verify_token(http)
        probe_access(
            http,
            index_name=run.plan.index.name,
            namespace_id=run.plan.kv_target["kv_namespace"],
            write=True,
        )
        ends = state.expires_on
        ends_s = None if ends is None else datetime.fromisoformat(ends).timestamp()
    except AccessError as error:
        return _evidence(Criterion.RIGHTS, False, str(error), runtime)
    except LocalStorageError:
        raise
    except (MigrationError, ValueError) as error:
        return _evidence(Criterion.RIGHTS, None, f"could not be asked: {error}", runtime)
    needed_s = runtime.clock.wall_s() if until_s is None else until_s
    lasts = ends_s is None or ends_s > needed_s
    found = "the token reads and writes index and namespace; it " + (
        "has no expiry" if ends is None else f"expires {ends}"
    )
    found = "; ".join([found, *key_notes])
    return _evidence(Criterion.RIGHTS, lasts, found, runtime)


def _evidence(criterion: Criterion, holds: bool | None, found: str, runtime: Runtime) -> Evidence:
    at = iso_stamp(runtime.clock.wall_s())
    return Evidence(criterion=criterion, holds=holds, found=found, place="the target", at=at)
