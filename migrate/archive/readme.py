"""The README of an archive: how to read it without q2v, with commands for exactly these files."""

import json
from collections.abc import Iterable, Iterator
from textwrap import dedent, indent

from migrate.archive.record import ArchiveRecord
from migrate.archive.standing import run_place
from migrate.model.records import VectorSpec
from migrate.snapshot.columns import vector_column
from migrate.snapshot.folder import Snapshot
from migrate.storage.layout import (
    ARCHIVE_FORMATS,
    ARCHIVE_RECORD,
    CHANGES,
    JOURNAL,
    PARTS,
    PRE_IMAGES,
    RECONCILE,
    REPORT,
    TARGETS,
    archive_name,
)
from migrate.words import counted


def write_readme(record: ArchiveRecord, snapshot: Snapshot) -> bytes:
    """The text; the same for the same archive. `record.files` may lack this page."""
    run = run_place(record.snapshot_id, record.run_id)
    paths = {file.path for file in record.files}
    sections = (
        _head(record),
        _unpacking(record),
        _checking(),
        _points(snapshot, record),
        *_if(f"{run}/{TARGETS}" in paths, _targets(run)),
        *_if(any(path.startswith(f"{run}/{PRE_IMAGES}/part-") for path in paths), _former(run)),
        *_if(f"{run}/{JOURNAL}" in paths, _journal(run)),
        *_if(any(_is_report(path, run) for path in paths), _verdicts(run)),
        _with_q2v(),
    )
    return "\n".join(sections).encode()


def _if(wanted: bool, section: str) -> Iterator[str]:
    if wanted:
        yield section


def _is_report(path: str, run: str) -> bool:
    return path.startswith(f"{run}/{RECONCILE}/") and path.endswith(f"/{REPORT}")


def _section(title: str, text: str, *, sh: str = "", sql: str = "") -> str:
    parts = [f"## {title}\n\n{dedent(text).strip()}\n"]
    parts += [f"```sh\n{sh.strip()}\n```\n"] if sh else []
    parts += [f"```sql\n{sql.strip()}\n```\n"] if sql else []
    return "\n".join(parts)


def _head(record: ArchiveRecord) -> str:
    final = "It is final." if record.final else f"It is not final: {record.why_not_final}."
    links = "\n".join(
        f"* `{link.snapshot_id}`: {counted(link.points, 'point')}, "
        f"content root `{link.content_root}`"
        for link in record.chain
    )
    text = f"""
# Archive of run {record.run_id}

Written by {record.tool}. It holds a copy of the Qdrant collection {_quoted(record.collection)}, what was moved from it
into Cloudflare Vectorize and Workers KV, and the evidence for it. {final}

The snapshots, each a difference to the one before it:

{links}

`{ARCHIVE_FORMATS}` describes every file. `{ARCHIVE_RECORD}` lists all of them with their size and SHA-256.
"""  # noqa: E501 - a page, not a line of code
    return text.lstrip()


def _quoted(text: str) -> str:
    """A name of others, so that it can end neither the line nor the code around it."""
    return json.dumps(text).replace("`", "\\u0060").replace("<", "\\u003c")


def _unpacking(record: ArchiveRecord) -> str:
    return _section(
        "Unpack it",
        """
        With GNU tar 1.31 or newer, and zstd. `zstd -dc FILE | tar -xf -` does the same. The
        archive unpacks to one folder; every command below is run in it.
        """,
        sh=f"tar --zstd -xf {archive_name(record.snapshot_id, record.run_id)}\ncd {record.folder}",
    )


def _checking() -> str:
    return _section(
        "Check it",
        f"""
        With [DuckDB](https://duckdb.org) alone. No row is the right answer: every file has the
        SHA-256 in `{ARCHIVE_RECORD}`.
        """,
        sql=f"""
SELECT listed.member."path"
FROM (
  SELECT unnest("files") AS member
  FROM read_json('{ARCHIVE_RECORD}', maximum_object_size = 268435456)
) AS listed
LEFT JOIN read_blob('**') AS found ON found."filename" = listed.member."path"
WHERE sha256(found."content") IS DISTINCT FROM listed.member."sha256";""",
    )


def _points(snapshot: Snapshot, record: ArchiveRecord) -> str:
    names = [vector_column(spec.name) for spec in snapshot.manifest.vectors]
    columns = ", ".join(["point_id", *map(_identifier, names), "payload"])
    points = record.chain[-1].points
    return _section(
        "The points",
        """
        `row` is the number of a point in the files of the run. Vectors are lists of float32, the
        payload is JSON. The first statement holds for the rest of the session.
        """,
        sql=f"""
CREATE OR REPLACE VIEW points AS
SELECT
  row_number() OVER (
    ORDER BY point_id_type = 'uuid', try_cast(point_id AS UBIGINT), point_id
  ) - 1 AS "row",
  *
FROM (
{indent(_whole(snapshot.chain), "  ")}
);
SELECT count(*) FROM points; -- {points}
SELECT "row", {columns} FROM points ORDER BY "row" LIMIT 3;""",
    )


def _whole(chain: Iterable[Snapshot]) -> str:
    """The points of a chain: those of each link but what the next one has changed or deleted."""
    text = ""
    for link in chain:
        place = link.manifest.snapshot_id
        if link.manifest.parent is not None:
            text = (
                f"SELECT * FROM (\n{indent(text, '  ')}\n) AS earlier\n"
                f"ANTI JOIN read_parquet('{place}/{CHANGES}') USING (point_id, point_id_type)"
            )
        if link.manifest.parts:
            own = f"SELECT * FROM read_parquet('{place}/{PARTS}/*.parquet')"
            text = f"{text}\nUNION ALL BY NAME\n{own}" if text else own
    return text or _no_points(chain)


def _no_points(chain: Iterable[Snapshot]) -> str:
    """A table without a row, for a chain without a part."""
    specs: list[VectorSpec] = [spec for link in chain for spec in link.manifest.vectors]
    names = dict.fromkeys(_identifier(vector_column(spec.name)) for spec in specs)
    vectors = "".join(f", NULL AS {name}" for name in names)
    return f"SELECT '' AS point_id, '' AS point_id_type{vectors}, '' AS payload WHERE false"


def _identifier(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _targets(run: str) -> str:
    return _section(
        "What each point became",
        "`vector_id` is its id in the vector index, `file` the file whose KV entry lists it.",
        sql=f"""
SELECT "row", vector_id, "file", "position" FROM read_parquet('{run}/{TARGETS}') LIMIT 3;""",
    )


def _former(run: str) -> str:
    return _section(
        "What the target held before",
        "`present` is false where the run created the vector.",
        sql=f"""
SELECT vector_id, present, metadata FROM read_parquet('{run}/{PRE_IMAGES}/part-*.parquet') LIMIT 3;
""",
    )


def _journal(run: str) -> str:
    return _section(
        "What happened in the run",
        "One line for each step, in order.",
        sql=f"""
SELECT json ->> 'type' AS step, count(*) FROM read_ndjson_objects('{run}/{JOURNAL}') GROUP BY ALL;
""",
    )


def _verdicts(run: str) -> str:
    return _section(
        "What was compared",
        "`report.html` beside each report is the same for people.",
        sql=f"""
SELECT json ->> 'at' AS compared_at, json ->> 'verdict' AS verdict, json -> 'counts' AS counts
FROM read_json_objects('{run}/{RECONCILE}/*/{REPORT}') ORDER BY compared_at;""",
    )


def _with_q2v() -> str:
    return _section(
        "With q2v",
        """
        `q2v verify FILE` checks the archive as it is, down to every point, without unpacking it.
        In the unpacked folder `q2v verify SNAPSHOT --dir .` checks a snapshot and
        `q2v restore SNAPSHOT --dir .` writes it back into Qdrant.
        """,
    )
