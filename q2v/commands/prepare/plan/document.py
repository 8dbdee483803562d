"""The plan as a JSON document."""

from dataclasses import asdict

from migrate.model.limits import PRICES_AS_OF
from q2v.commands.prepare.plan import transforms_shown
from q2v.commands.prepare.plan.details import met, notes
from q2v.commands.prepare.plan.gathering import PlanResult
from q2v.commands.prepare.plan.verdict import Verdict
from q2v.output.configured import shown_settings
from q2v.settings import Settings


def document(
    result: PlanResult, settings: Settings, verdict: Verdict, *, show_values: bool
) -> dict[str, object]:
    """All of it, settings and details included."""
    findings = result.findings
    return {
        "route": result.route.document(),
        "verdict": verdict.document(),
        "reading": None if result.reading is None else asdict(result.reading),
        "points": findings.points,
        "shard_keys": findings.shard_keys,
        "vectors": findings.vectors,
        "files": findings.files,
        "quarantined": findings.quarantined,
        "elsewhere": findings.elsewhere,
        "quarantine_cap": findings.quarantine_cap,
        "quarantined_points": [
            {
                "row": point.row,
                "point_id": point.point_id.text,
                "reason": point.outcome.reason.value,
                "field": point.outcome.field,
                "detail": point.outcome.detail,
            }
            for point in findings.quarantined_points
        ],
        "changes": findings.changes,
        "transforms": transforms_shown.document(findings, show_values=show_values),
        "metadata_bytes_saved": findings.bytes_saved,
        "files_with_gaps": findings.files_with_gaps,
        "long_indexed": findings.long_indexed,
        "metadata_types": {one.name: one.found for one in findings.property_types},
        "hash_mismatches": findings.hash_mismatches,
        "hashed_ids": findings.hashed_ids,
        "counter_file": findings.counter_file,
        "namespaces": None
        if findings.namespaces is None
        else {
            "count": findings.namespaces.count,
            "largest": [
                {"namespace": name, "vectors": vectors}
                for name, vectors in findings.namespaces.largest
            ],
        },
        "values": asdict(result.values),
        "parity": None if result.cut is None else asdict(result.cut),
        "estimate": asdict(result.figures),
        "prices_as_of": PRICES_AS_OF,
        "target": None if result.target is None else asdict(result.target),
        "credentials": result.credentials,
        "histograms": [asdict(one) for one in findings.histograms],
        "limits": [asdict(one) for one in met(result, settings)],
        "notes": notes(result, settings),
        "settings": shown_settings(settings),
    }
