"""The rollback manifest: what undoing a run restores and deletes, and what it cannot undo."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from migrate.errors import PreconditionError
from migrate.model.records import KvEntry, VectorId
from migrate.model.sealed_json import damaged, seal_json
from migrate.plan.estimate import RequestPace, Workload, estimate
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import (
    KvPreImage,
    read_existing_ids,
    read_kv_pre_images,
)
from migrate.run.refused_vectors import former_of_refused, unwritten_rows
from migrate.storage.layout import (
    EXISTING_IDS,
    KV_PRE_IMAGES,
    MANIFEST,
    PRE_IMAGES,
    REMOVED,
)
from migrate.wrangler.commands import back_commands, release_commands
from reconcile.gate.record import recorded_worker_version

ROLLBACK_FORMAT = 1

CANNOT_UNDO = (
    "writes by others after this run: ids and keys they changed are kept and listed as conflicts",
    "writes the new side accepted after the cutover: they stay in the target; `q2v rollback "
    "--export-later-writes` seals them for a restore, or lists the files to embed again",
    "KV entries whose former expiry has passed, or is less than 60 s away: they stay deleted",
    "the index, its metadata indexes and the KV namespace themselves: `wrangler` deletes those",
    "the time at which a record was last modified",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that holds records of the manifest."""

    path: str  # below the run's folder
    rows: int
    sha256: str
    holds: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackManifest:
    """Everything that undoing a run needs; the records are in the attachments."""

    run_id: str
    plan_fingerprint: str
    vector_target: dict[str, str]
    kv_target: dict[str, str]
    index: str
    vectors_created: int  # absent before the run; deleted by a rollback
    vectors_overwritten: int  # present before the run; restored by a rollback
    vectors_removed: int  # by a catch-up; put back by a rollback
    kv_created: int
    kv_overwritten: int
    counter_key: str
    counter_former: str | None  # value before the run; None = absent
    attachments: tuple[Attachment, ...]
    requests: int
    minutes: float  # at the request budget of limits.requests_per_5min
    cannot_undo: tuple[str, ...]
    commands_before: tuple[tuple[str, ...], ...]  # argv lists
    commands_after: tuple[tuple[str, ...], ...]
    later_export: dict[str, str] | None = None  # path and content root of an export, if there is


def read_kv(run: RunFolder) -> list[KvPreImage]:
    """The pre-image of every key that the run writes, the counter last.

    Raises ArtefactDamagedError when the file has changed; so do the two functions below.
    """
    sha256 = run.state().pre_image_parts[KV_PRE_IMAGES][1]
    records = read_kv_pre_images(run.pre_images.file(KV_PRE_IMAGES), sha256)
    return [record for record in records if record.ours]


def read_foreign_keys(run: RunFolder) -> frozenset[str]:
    """Keys under the run's prefix that existed before and that the run does not write: no drift."""
    sha256 = run.state().pre_image_parts[KV_PRE_IMAGES][1]
    records = read_kv_pre_images(run.pre_images.file(KV_PRE_IMAGES), sha256)
    return frozenset(record.key for record in records if not record.ours)


def read_existing(run: RunFolder) -> Iterator[VectorId]:
    """Ids that were in the index before the run and that the run did not write: no drift."""
    sha256 = run.state().pre_image_parts[EXISTING_IDS][1]
    yield from read_existing_ids(run.pre_images.file(EXISTING_IDS), sha256)
    yield from former_of_refused(run)


def build_manifest(run: RunFolder, *, requests_per_5min: int) -> RollbackManifest:
    """Build the manifest from the plan, the journal and the pre-images of the run.

    Raises PreconditionError while the pre-images are not complete; the run has not written yet.
    """
    state = run.state()
    if state.pre_images is None:
        raise PreconditionError(
            f"run {run.plan.run_id} has no complete pre-images: it has written nothing yet",
            remedy="there is nothing to roll back; `q2v migrate` continues the run",
        )
    # A vector that the target refused in every write was not changed.
    untouched, untouched_present = len(unwritten_rows(run)), len(former_of_refused(run))
    vectors = run.plan.vectors_to_write - untouched
    present = int(str(state.pre_images["vectors_present"])) - untouched_present
    removed = int(str(state.pre_images.get("vectors_removed", 0)))
    kv = read_kv(run)
    counter = next(record for record in kv if record.key == run.plan.writes.counter_key)
    kv_present = sum(record.former is not None for record in kv)
    figures = estimate(
        Workload(
            vectors=vectors + removed,
            files=run.plan.files,
            dimensions=run.plan.values.dimensions,
            metadata_bytes=0,
            vectors_per_upload=run.plan.writes.vectors_per_upload,
            body_bytes=run.plan.writes.body_bytes,
        ),
        RequestPace(requests_per_5min=requests_per_5min),
    )
    return RollbackManifest(
        run_id=run.plan.run_id,
        plan_fingerprint=run.plan.fingerprint,
        vector_target=run.plan.vector_target,
        kv_target=run.plan.kv_target,
        index=run.plan.index.name,
        vectors_created=vectors - present,
        vectors_overwritten=present,
        vectors_removed=removed,
        kv_created=len(kv) - kv_present,
        kv_overwritten=kv_present,
        counter_key=counter.key,
        counter_former=_shown(counter.former),
        attachments=tuple(
            Attachment(
                path=f"{PRE_IMAGES}/{name}",
                rows=rows,
                sha256=sha256,
                holds=_holds(name),
            )
            for name, (rows, sha256) in sorted(state.pre_image_parts.items())
        ),
        requests=figures.rollback_requests,
        minutes=figures.rollback_minutes,
        cannot_undo=CANNOT_UNDO,
        commands_before=commands_before(run, recorded_worker_version(run)),
        commands_after=commands_after(run),
    )


def _shown(former: KvEntry | None) -> str | None:
    """The value as text. Another writer may have written it, so it need not be UTF-8."""
    return None if former is None else former.value.decode(errors="backslashreplace")


def _holds(name: str) -> str:
    if name == KV_PRE_IMAGES:
        return "every KV key written, with its former value, metadata and expiry, or absent"
    if name == REMOVED:
        return "every vector id removed, with its former content, or absent"
    if name.startswith("part-"):
        return "every vector id written, with its former content, or absent (created by the run)"
    return "vector ids that were in the index and are not touched by the run"


def commands_before(run: RunFolder, version: str | None) -> tuple[tuple[str, ...], ...]:
    """The first ones must run in the folder of the Worker, which holds its configuration.

    `version` of the Worker is deployed again; None: the operator chooses it from the lists.
    """
    listed = release_commands(env=None)
    return (
        *(listed if version is None else listed[:1]),
        *back_commands(env=None, version=version, message="q2v: readers back to Qdrant"),
        *_about_index(run, "info", "--json"),
    )


def commands_after(run: RunFolder) -> tuple[tuple[str, ...], ...]:
    """Commands of wrangler for the operator to run after the rollback, as argument lists."""
    namespace = run.plan.kv_target["kv_namespace"]
    return (
        *_about_index(run, "list-vectors", "--count=1000", "--json"),
        (
            "wrangler",
            "kv",
            "key",
            "list",
            f"--namespace-id={namespace}",
            f"--prefix={run.plan.writes.counter_key}",
            "--remote",
        ),
    )


def _about_index(run: RunFolder, verb: str, *options: str) -> tuple[tuple[str, ...], ...]:
    """One command, or none for a name that wrangler would take for an option.

    Settings refuse such a name. Plans of earlier versions may hold one, and `--` does not help:
    wrangler ignores the arguments after it.
    """
    name = run.plan.index.name
    if not (name[:1].isascii() and name[:1].isalnum()):
        return ()
    return (("wrangler", "vectorize", verb, name, *options),)


def write_manifest(run: RunFolder, manifest: RollbackManifest) -> tuple[str, str]:
    """Write rollback/manifest.json durably; returns its address and SHA-256."""
    run.rollback.make()
    fields = {"format": ROLLBACK_FORMAT, **asdict(manifest)}
    if not manifest.vectors_removed:  # as earlier versions wrote it
        del fields["vectors_removed"]
    if manifest.later_export is None:
        del fields["later_export"]
    content = seal_json(fields)
    return run.rollback.address(MANIFEST), run.rollback.file(MANIFEST).write(content)


def check_manifest(run: RunFolder, manifest: RollbackManifest) -> None:
    """Raise ArtefactDamagedError when an attachment or targets.parquet has changed."""
    run.check_targets()
    for attachment in manifest.attachments:
        file = run.pre_images.file(attachment.path.removeprefix(f"{PRE_IMAGES}/"))
        if not file.is_there() or file.hash()[1] != attachment.sha256:
            raise damaged(str(file), f"its sha256 is not {attachment.sha256}: cannot roll back")
