"""The name of every file and folder that q2v keeps below --dir, each defined once.

`PLACES` lists them all, each with an example; docs/formats.md shows that list, and a test compares
both with what a whole migration leaves behind.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

# Of --dir itself.
LOCK = ".lock"
BUDGET = ".budget"
BUDGET_FILE = "requests"
SOURCE_COPIES = ".source"  # of a store that is read from its folder
CRASH_LOG = "q2v-crash-{}.log"
SPILL = ".spill"  # what did not fit in memory, of --dir or a run; all of it is derived

# Of an archive: its own members.
ARCHIVE_RECORD = "archive.json"
ARCHIVE_README = "README.md"
ARCHIVE_FORMATS = "formats.md"

# Of a snapshot.
MANIFEST = "manifest.json"  # also the name of the rollback's manifest
JOURNAL = "journal.jsonl"  # of a snapshot, a run and a reconcile
PARTS = "parts"
OPENED_RECORD = "opened.json"  # in an object store: what a journal begins with
RECORDS = "records"  # in an object store: one for each part that is written
CHANGES = "changes.parquet"  # of a difference
DIFFERENCE_BEGUN = "begun.jsonl"  # of a difference; without a manifest it is begun again
RUNS = "runs"

# Of a run.
PLAN = "plan.json"
QUARANTINE = "quarantine.jsonl"
TARGETS = "targets.parquet"
DIFFERENCE = "difference.parquet"  # of a catch-up
STOP = "STOP"
PRE_IMAGES = "pre-images"
KV_PRE_IMAGES = "kv.parquet"
EXISTING_IDS = "existing.parquet"
REMOVED = "removed.parquet"  # of a catch-up

# Of a reconcile.
RECONCILE = "reconcile"
REPORT = "report.json"
PAGE = "report.html"  # also of a run
STATEMENT = "statement.json"
COMBINED = "combined.ids"
DIFFERS = "differs.jsonl"  # also of a rollback

# Of a gate.
GATE = "gate"

# Of a snapshot, and of a run whose index was asked.
PARITY = "parity"

# Of the looks after the cutover.
MONITOR = "monitor"

# Of a rollback.
ROLLBACK = "rollback"
CONFLICTS = "conflicts.ids"
LATER_WRITES = "later-writes.ids"
LATER_DELETIONS = "later-deletions.ids"
FILES_TO_EMBED = "files-to-embed.txt"
FILES_TO_EMBED_JSON = "files-to-embed.json"
LATER = "later"  # a folder with an export of later writes each; an export is a snapshot
LATER_INDEX = "later.parquet"
READ = "read"  # of an export that is not sealed


def lock_name(own: str | None = None) -> str:
    """The lock of a folder; with `own` that of one of several vector indexes in it."""
    return LOCK if own is None else f"{LOCK}-{own}"


def scratch_name(own: str | None = None) -> str:
    """The scratch space of a plan; with `own` of one for one of several vector indexes."""
    return SPILL if own is None else f"{SPILL}-{own}"


def part_name(ordinal: int, revision: int = 0) -> str:
    """A part of a snapshot's points, or of a run's vector pre-images; `ordinal` from 0.

    `revision` counts how often it was written again where no file is replaced.
    """
    return f"{_part(ordinal, revision)}.parquet"


def record_name(ordinal: int, revision: int = 0) -> str:
    """The record of a part in an object store."""
    return f"{_part(ordinal, revision)}.json"


def _part(ordinal: int, revision: int) -> str:
    return f"part-{ordinal:05d}{f'.{revision}' if revision else ''}"


def run_name(number: int, stamp: str, own: str | None = None) -> str:
    """The folder of a run; one into one of several vector indexes names the index."""
    return f"{number:03d}-{stamp}" + ("" if own is None else f"-{own}")


def index_of_run(name: str) -> str | None:
    """The one of several vector indexes that the name of a run has; None for a single one."""
    _, _, own = name.partition("-")[2].partition("-")
    return own or None


def reconcile_name(ordinal: int) -> str:
    """The folder of a reconcile within its run; `ordinal` from 1."""
    return f"{ordinal:03d}"


def gate_name(ordinal: int) -> str:
    """The record of a gate within its run; `ordinal` from 1."""
    return f"{ordinal:03d}.json"


def parity_name(ordinal: int) -> str:
    """The record of a parity measurement within its snapshot or run; `ordinal` from 1."""
    return f"{ordinal:03d}.json"


def queries_name(sha256: str) -> str:
    """What workers search a snapshot for, beside the records of its parity; derived."""
    return f".queries-{sha256}.npz"


def listed_name(ordinal: int) -> str:
    """The ids that the n-th listing of an export has found, before it is sealed; from 0."""
    return f"listed-{ordinal}.ids"


def id_file_name(drift_class: str) -> str:
    """The ids of one class of drift, beside the report."""
    return f"{drift_class}.ids"


def forced_name(round_ordinal: int) -> str:
    """The ids that the operator forced in a repair, beside the report that it follows."""
    return f"forced-{round_ordinal}.ids"


def archive_name(snapshot: str, run: str, number: int = 1) -> str:
    """The archive of a run, unless the operator names another file; `number` from 1.

    A later archive of the same run has the next number, when the files have changed since.
    """
    return f"{snapshot}-{run}{'' if number == 1 else f'-{number}'}.q2v.tar.zst"


def newest_archive(names: Collection[str], snapshot: str, run: str) -> int:
    """The highest number of an archive of this run among these file names; 0 without one."""
    first, _, ending = archive_name(snapshot, run).partition(".")
    pattern = re.compile(rf"{re.escape(first)}(?:-([2-9]|[1-9]\d+))?{re.escape(f'.{ending}')}")
    found = filter(None, map(pattern.fullmatch, names))
    return max((int(one[1] or 1) for one in found), default=0)


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or a folder with everything in it (its path ends in `/`)."""

    path: str  # below --dir; a word in <> stands for a name that differs
    example: str
    holds: str


_SNAPSHOT = "20261129T081500Z-7f4c3d-00"
_RUN = f"{_SNAPSHOT}/{RUNS}/000-20261129T083000Z"
_RECONCILE = f"{_RUN}/{RECONCILE}/001"
_LATER = f"{_RUN}/{ROLLBACK}/{LATER}/000-20261129T083000Z-later-01"
_SNAPSHOT_PATH = "<snapshot>"
_RUN_PATH = f"{_SNAPSHOT_PATH}/{RUNS}/<run>"
_RECONCILE_PATH = f"{_RUN_PATH}/{RECONCILE}/<n>"
_LATER_PATH = f"{_RUN_PATH}/{ROLLBACK}/{LATER}/<export>"


def _of_snapshot(name: str, holds: str, example: str = "") -> Place:
    return Place(f"{_SNAPSHOT_PATH}/{name}", f"{_SNAPSHOT}/{example or name}", holds)


def _of_run(name: str, holds: str, example: str = "") -> Place:
    return Place(f"{_RUN_PATH}/{name}", f"{_RUN}/{example or name}", holds)


def _of_reconcile(name: str, holds: str, example: str = "") -> Place:
    return Place(f"{_RECONCILE_PATH}/{name}", f"{_RECONCILE}/{example or name}", holds)


def _of_export(name: str, holds: str, example: str = "") -> Place:
    return Place(f"{_LATER_PATH}/{name}", f"{_LATER}/{example or name}", holds)


PLACES = (
    Place(LOCK, LOCK, "the process that works in the folder: one at a time"),
    Place(
        lock_name("<index>"),
        lock_name("wiki-0"),
        "with several vector indexes, the process that works on one of them",
    ),
    Place(
        f"{BUDGET}/{BUDGET_FILE}",
        f"{BUDGET}/{BUDGET_FILE}",
        "SQLite, format 2: the requests of the last five minutes, and those that wait (table "
        "`waiting`, which versions without it ignore), for the shared budget; safe to lose after "
        "five minutes without requests. With `--budget DIR` it is `DIR/requests`",
    ),
    Place(
        f"{BUDGET}/{BUDGET_FILE}-journal",
        f"{BUDGET}/{BUDGET_FILE}-journal",
        "SQLite's own: undoes what a killed process left half written",
    ),
    Place(
        f"{BUDGET}/{BUDGET_FILE}.lock",
        f"{BUDGET}/{BUDGET_FILE}.lock",
        "the process that opens or replaces the budget",
    ),
    Place(
        f"{SOURCE_COPIES}/",
        f"{SOURCE_COPIES}/copy-0/",
        "copies of a store, or an unpacked snapshot file (`source.path`); removed at the end, or "
        "by the next command",
    ),
    Place(f"{SPILL}/", f"{SPILL}/", "what did not fit in memory; removed at the end"),
    Place(
        f"{scratch_name('<index>')}/",
        f"{scratch_name('wiki-0')}/",
        "the same of a plan for one of several vector indexes",
    ),
    Place(CRASH_LOG.format("<n>"), CRASH_LOG.format(1), "the traceback of an internal error"),
    Place(
        archive_name("<snapshot>", "<run>"),
        archive_name(_SNAPSHOT, "000-20261129T083000Z"),
        "the archive of a run, in one file; later states of it have a number in the name",
    ),
    _of_snapshot(JOURNAL, "ranges, and the parts that are written"),
    _of_snapshot(MANIFEST, "written last: its presence means sealed"),
    _of_snapshot(f"{PARTS}/part-<n>.parquet", "points", f"{PARTS}/{part_name(0)}"),
    _of_snapshot(OPENED_RECORD, "in an object store, in place of the journal: the ranges"),
    _of_snapshot(
        f"{RECORDS}/part-<n>.json",
        "in an object store: a part that is written",
        f"{RECORDS}/{record_name(0)}",
    ),
    _of_snapshot(CHANGES, "of a difference: the points that differ from the parent"),
    _of_snapshot(DIFFERENCE_BEGUN, "of a difference: what it is to be a difference to"),
    _of_snapshot(
        f"{PARITY}/<n>.json", "how much of search fewer dimensions keep", f"{PARITY}/001.json"
    ),
    _of_snapshot(
        f"{PARITY}/.queries-<digest>.npz",
        "in an object store: what workers searched for; safe to remove when none works",
        f"{PARITY}/{queries_name('9f27ab10')}",
    ),
    _of_run(PLAN, "the decisions before the first write; written last of the plan"),
    _of_run(QUARANTINE, "the points that the plan leaves out, with reasons"),
    _of_run(TARGETS, "what every moving point becomes"),
    _of_run(DIFFERENCE, "of a catch-up: what it changes in the target"),
    _of_run(JOURNAL, "what happened in the run"),
    _of_run(STOP, "put it there to stop before the next write"),
    _of_run(f"{SPILL}/", "what did not fit in memory; removed at the end"),
    _of_run(
        f"{PRE_IMAGES}/part-<n>.parquet",
        "vectors of the target before the run",
        f"{PRE_IMAGES}/{part_name(0)}",
    ),
    _of_run(f"{PRE_IMAGES}/{REMOVED}", "of a catch-up: the vectors that it removes"),
    _of_run(f"{PRE_IMAGES}/{EXISTING_IDS}", "ids that the run does not write"),
    _of_run(f"{PRE_IMAGES}/{KV_PRE_IMAGES}", "KV entries of the target before the run"),
    _of_reconcile(JOURNAL, "how far the reconcile came"),
    _of_reconcile(REPORT, "the verdict; written last but the statement"),
    _of_reconcile(PAGE, "the report for people"),
    _of_reconcile(STATEMENT, "the evidence: files by digest, and the verdict"),
    _of_reconcile(COMBINED, "every vector that differs, with its symbol"),
    _of_reconcile(DIFFERS, "what differs in each"),
    _of_reconcile("<class>.ids", "the ids of one class of drift", id_file_name("missing")),
    _of_reconcile("forced-<n>.ids", "the ids forced in repair round n", forced_name(1)),
    _of_run(f"{GATE}/<n>.json", "go or no-go, with the evidence of each row", f"{GATE}/001.json"),
    _of_run(
        f"{PARITY}/<n>.json", "how the vector index answers, and the same", f"{PARITY}/001.json"
    ),
    _of_run(PAGE, "the page of the whole run, for people"),
    _of_run(f"{MONITOR}/{JOURNAL}", "one entry for each look at the target after the cutover"),
    _of_run(
        f"{MONITOR}/<class>.ids",
        "the ids of one class of inconsistency, of the newest look",
        f"{MONITOR}/{id_file_name('orphaned')}",
    ),
    _of_run(f"{ROLLBACK}/{MANIFEST}", "what undoing the run restores and deletes"),
    _of_run(f"{ROLLBACK}/{CONFLICTS}", "ids and keys that a rollback kept"),
    _of_run(f"{ROLLBACK}/{DIFFERS}", "what differs in each"),
    _of_run(f"{ROLLBACK}/{LATER_WRITES}", "ids and keys that the target took since the run"),
    _of_run(f"{ROLLBACK}/{LATER_DELETIONS}", "ids of the run that the target lost since"),
    _of_run(f"{ROLLBACK}/{FILES_TO_EMBED}", "files to embed again, one id a line"),
    _of_run(f"{ROLLBACK}/{FILES_TO_EMBED_JSON}", "every file that the new side changed, and how"),
    _of_export(JOURNAL, "how far the export came"),
    _of_export(listed_name(0).replace("0", "<n>"), "until it is sealed: ids found", listed_name(0)),
    _of_export(
        f"{READ}/part-<n>.parquet", "until it is sealed: contents", f"{READ}/{part_name(0)}"
    ),
    _of_export(MANIFEST, "written last: its presence means sealed"),
    _of_export(f"{PARTS}/part-<n>.parquet", "points", f"{PARTS}/{part_name(0)}"),
    _of_export(LATER_INDEX, "which vector each point was, and what became of it"),
    _of_export(KV_PRE_IMAGES, "KV entries that are not those of the run"),
)


def find_place(path: str) -> Place | None:
    """The place of a path below --dir; the more specific one if two fit, None if none fits."""
    fitting = [place for place in PLACES if re.fullmatch(_pattern(place.path), path)]
    return max(fitting, key=lambda place: len(_pattern(place.path)), default=None)


def _pattern(path: str) -> str:
    names = re.sub(r"<[a-z]+>", "[^/]+", re.sub(r"[.]", r"\\.", path))
    return f"{names}.*" if path.endswith("/") else names


def docs_table() -> str:
    """The table of docs/formats.md."""
    rows = [f"| `{place.path}` | `{place.example}` | {place.holds} |" for place in PLACES]
    return "\n".join(["| path below `--dir` | example | holds |", "|---|---|---|", *rows])
