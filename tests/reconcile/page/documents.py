"""Documents of a page, with the same texts wherever a text can stand."""

from collections.abc import Sequence

from migrate.storage.id_files import encode_id
from reconcile.page.documents import Documents, FileSum, IdRows, NextStep

KEPT = {
    "queries": 4,
    "overlap": {"mean": 0.9, "low": 0.85, "high": 0.95, "tenth": 0.7},
    "same_first": {"mean": 0.9, "low": 0.85, "high": 0.95, "tenth": 0.7},
    "rank_biased": {"mean": 0.9, "low": 0.85, "high": 0.95, "tenth": 0.7},
    "contained": {"mean": 0.9, "low": 0.85, "high": 0.95, "tenth": 0.7},
}


def rows_of(name: str, ids: Sequence[str], total: int | None = None) -> IdRows:
    """The ids of a class as an id file has them."""
    lines = tuple(map(encode_id, ids))
    return IdRows(
        name=name, total=len(lines) if total is None else total, lines=lines, place=f"{name}.ids"
    )


def report_with(text: str, verdict: str = "drift") -> dict[str, object]:
    """A report with this text as every value."""
    return {
        "run_id": text,
        "snapshot_id": text,
        "ordinal": 2,
        "started_at": "2026-11-23T11:00:00+00:00",
        "at": "2026-11-23T12:00:00+00:00",
        "resumed": 1,
        "abandoned": [text],
        "unread": [text],
        "verdict": verdict,
        "why": text,
        "coverage": {
            "contents": "sampled",
            "checked": 3,
            "bound": 0.5,
            "seed": 1,
            "verifier": text,
            "fell_back": text,
            "read_by": {"rest": 1, "verifier": 2},
        },
        "counts": {
            "source": 10,
            "snapshot": 10,
            "expected": 7,
            "vector_index": 6,
            "kv_ids": None,
            "kv_counter": 7,
        },
        "drift": {"missing": 1, "extra": 0, "kv_missing": None, "counter": 0, text: 3},
        "source_drift": {"added": 2},
        "metadata_indexes": [
            {
                "name": text,
                "declared": text,
                "listed": None,
                "state": "refused",
                "asked": 2,
                "found": 1,
                "refusal": text,
            }
        ],
        "rollback_manifest": text,
        "made_by": {"tool": text, "commit": text, "operator": text, "system": text},
    }


def documents_with(texts: Sequence[str], *, verdict: str = "drift") -> Documents:
    """Documents of every kind, with the first text as every value and all texts as ids."""
    text = texts[0] if texts else "text"
    report = report_with(text, verdict)
    return Documents(
        manifest={
            "collection": text,
            "snapshot_id": text,
            "content_root": text,
            "server": text,
            "started_at": "2026-11-23T10:00:00+00:00",
            "sealed_at": "2026-11-23T10:01:00+00:00",
            "source": {"url": text},
        },
        plan={
            "run_id": text,
            "created_at": "2026-11-23T10:02:00+00:00",
            "tool": text,
            "points": 10,
            "vector_target": {"account": text, "host": text, "vector_index": text},
            "kv_target": {"kv_namespace": text},
        },
        report=report,
        quarantined={text: 4},
        rows=(rows_of("missing", texts), rows_of(text, texts)),
        foreign=frozenset(map(encode_id, texts[:1])),
        differs={encode_id(one): (one,) for one in texts},
        payloads={encode_id(one): one for one in texts},
        entries=(
            {"type": "intent", "round": 0, "store": "vectors", "batch": 0, "count": 6, "bytes": 9},
            {
                "type": "ack",
                "round": 0,
                "store": "vectors",
                "batch": 0,
                "server_date": "Mon, 23 Nov 2026 10:03:00 GMT",
            },
        ),
        reconciles=(report,),
        gate={
            "at": "2026-11-23T12:30:00+00:00",
            "until": "2026-11-23T18:00:00+00:00",
            "verdict": "no-go",
            "rows": [{"title": text, "verdict": "fail", "found": text, "at": None, "do": text}],
            "of_the_operator": [text],
        },
        parity=(
            {
                "verdict": text,
                "why": text,
                "rules": {"top": 10, "dimensions": 64},
                "curve": {
                    "16": {**KEPT, "worst_queries": [{"name": text, "overlap": 0.1}]},
                    "32": {**KEPT, "worst_queries": []},
                },
                "index": {**KEPT, "worst_queries": [{"name": text, "overlap": 0.1}]},
                "strangers": 2,
            },
        ),
        preflight={
            "error": {"what": text, "next": text},
            "estimate": {
                "upload_bytes": 9,
                "upload_requests": 1,
                "upload_minutes": 1.0,
                "list_requests": 1,
                "content_requests": 1,
                "reconcile_minutes": 1.0,
                "rollback_requests": 1,
                "rollback_minutes": 1.0,
                "usd_per_month": 1.0,
            },
            "prices_as_of": text,
        },
        next_step=NextStep(means=text, text=text, is_command=False),
        files=(FileSum(name=text, sha256="ab" * 32),),
    )
