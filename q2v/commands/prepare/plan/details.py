"""The rest of a plan: notes, examples of transforms, points that are left out, settings."""

from collections.abc import Iterator
from itertools import islice

from migrate.mapping.agreement import idle_rules
from migrate.mapping.ids import DIGEST_BITS, collision_bound
from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.mapping.payload import Quarantined
from migrate.plan.census.limits_met import Found, LimitMet, limits_met
from migrate.plan.make import PlanFindings
from migrate.provision import TargetState
from migrate.words import counted
from q2v.commands.prepare.plan import transforms_shown
from q2v.commands.prepare.plan.gathering import PlanResult
from q2v.commands.prepare.plan.spread_shown import histogram_lines, limit_lines
from q2v.output.advice import advise
from q2v.output.configured import shown_settings
from q2v.rules.stages import mapping_rules
from q2v.settings import Settings

QUARANTINED_SHOWN_MAX = 20  # lines
LEFT_OUT_IDS_MAX = 3  # of one line


def notes(result: PlanResult, settings: Settings) -> list[str]:
    """What is worth knowing and needs no decision, a sentence each."""
    findings = result.findings
    return [
        *_shape_notes(result, settings),
        *_finding_notes(findings, settings.mapping.order_key),
        *_shard_key_notes(findings, settings),
        *result.credentials,
        *idle_rules(mapping_rules(settings).by_setting),
    ]


def lines(result: PlanResult, settings: Settings, *, show_values: bool) -> list[str]:
    """All of the details."""
    findings = result.findings
    spread = [
        *limit_lines(met(result, settings)),
        "",
        *histogram_lines(findings.histograms),
        "",
    ]
    shown = [advise(f"note: {note}") for note in notes(result, settings)]
    shown += [f"changed: {change}: {counted(n, 'point')}" for change, n in findings.changes.items()]
    shown += transforms_shown.lines(findings, show_values=show_values)
    return [*spread, *shown, *_quarantined_lines(findings)]


def met(result: PlanResult, settings: Settings) -> tuple[LimitMet, ...]:
    """The limits of the target, with what was found."""
    findings = result.findings
    largest = {one.name: one.highest for one in findings.histograms}
    return limits_met(
        Found(
            quarantined=findings.quarantined,
            listed=findings.quarantined_points,
            dimensions=result.values.dimensions,
            vectors=findings.vectors,
            namespaces=None if findings.namespaces is None else findings.namespaces.count,
            id_bytes=_whole(largest.get("id bytes")),
            metadata_bytes=_whole(largest.get("metadata bytes")),
            body_bytes=settings.limits.body_bytes,
        )
    )


def _whole(size: float | None) -> int | None:
    return None if size is None else int(size)


def setting_lines(settings: Settings) -> Iterator[str]:
    """Every setting with its origin, those that are set first."""
    shown = shown_settings(settings)
    for row in sorted(shown, key=lambda row: row["key"] not in settings.origins):
        yield f"{row['key']} = {row['shown']}  ({row['origin']})"


def _shape_notes(result: PlanResult, settings: Settings) -> Iterator[str]:
    if result.reading is not None:
        yield f"points are read over {result.reading.words()}"
    if result.values.is_cut:
        yield (
            "after the cutover every query must be embedded with "
            f"{result.values.dimensions:,} dimensions; the reduction is right only for models "
            "trained for it"
        )
    if result.cut is not None and result.cut.holds:
        yield result.cut.in_words()
    yield f"the counter ({settings.kv.counter_key}) will hold the number of {COUNTER_MEANING}"
    if result.target is not None:
        yield from _target_notes(result.target)


def _target_notes(state: TargetState) -> Iterator[str]:
    if state.kv_namespace is not None:
        yield f"the KV namespace is {state.kv_namespace.in_words()}"
    else:
        yield "no KV namespace is configured yet: `q2v provision` creates one"
    if state.index is None:
        yield "the vector index does not exist yet: `q2v provision` creates it"
    elif state.metadata_indexes_missing:
        names = ", ".join(state.metadata_indexes_missing)
        way = "`q2v provision --into-non-empty`" if state.vectors_listed else "`q2v provision`"
        yield f"metadata indexes are missing ({names}): {way} creates them"
    if state.vectors_listed:
        yield "the vector index is not empty: migrate wants an empty one, or --into-non-empty"


def _finding_notes(findings: PlanFindings, order_key: str) -> Iterator[str]:
    if findings.files_with_gaps:
        first = findings.gaps[0]
        yield (
            f"in {counted(findings.files_with_gaps, 'file')} the numbers of '{order_key}' are not "
            "0, 1, 2 ..., which is as it should be where they count characters; "
            f"first '{first.file}' ({counted(first.vectors, 'vector')}, numbers {first.lowest} to "
            f"{first.highest})"
        )
    if findings.hashed_ids:
        bound = collision_bound(findings.hashed_ids)
        yield (
            f"{counted(findings.hashed_ids, 'id')} of more than 64 bytes are replaced by a digest "
            f"of {DIGEST_BITS} bits: two of them are equal with a chance below {bound:.0e}"
        )
    for name, count in findings.long_indexed.items():
        yield (
            f"{counted(count, 'value')} of '{name}' are longer than 64 bytes: filters see their "
            "first 64 bytes"
        )
    if findings.hash_mismatches:
        yield (
            f"{counted(findings.hash_mismatches, 'vector')} move with a hash that is not the one "
            'of their text; mapping.hash_mismatch = "quarantine" leaves such points behind'
        )


def _shard_key_notes(findings: PlanFindings, settings: Settings) -> Iterator[str]:
    if findings.shard_keys and mapping_rules(settings).shard_key_rule is None:
        yield (
            f"the points are under {counted(findings.shard_keys, 'shard key')}, and no vector will "
            'hold its key: a rule with shard_key = "NAME" in mapping.transform puts it into the '
            "field NAME of the payload; the snapshot keeps the keys in any case"
        )


def _quarantined_lines(findings: PlanFindings) -> Iterator[str]:
    """One line for all points that are left out for the same reason, with the ids of the first."""
    alike: dict[Quarantined, list[str]] = {}
    for point in findings.quarantined_points:
        alike.setdefault(point.outcome, []).append(point.point_id.text)
    for outcome, ids in islice(alike.items(), QUARANTINED_SHOWN_MAX):
        named = ", ".join(ids[:LEFT_OUT_IDS_MAX])
        more = len(ids) - LEFT_OUT_IDS_MAX
        named += f" and {more:,} more" if more > 0 else ""
        where = "" if outcome.field == outcome.reason else f" {outcome.field}"
        yield f"left out: {named}: {outcome.reason}{where}: {outcome.detail}"
    total, listed = sum(findings.quarantined.values()), len(findings.quarantined_points)
    if listed < total:
        yield (
            f"left out: {counted(total, 'point')} in all, the lines above are about {listed:,} "
            "of them; "
            f"`--json --max-quarantine {total}` names all of them"
        )
