"""`q2v list`: the snapshots of a folder, their runs, and the verdicts on them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from migrate.storage.durable import is_folder
from migrate.storage.folder_lock import process_at_work
from q2v import wiring
from q2v.commands.inspect.inventory import Judged, Kept, Moved, take_inventory
from q2v.invocation import Place, absolute
from q2v.options import SEAL, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.render import (
    format_bytes,
    format_count,
    format_duration,
    write_document,
    write_line,
)
from q2v.output.screen.wrapping import wrapped
from q2v.settings import Settings

_MISSING = "this folder does not exist; if the snapshots are in another one, name it with --dir"


@takes(SEAL)
@click.command("list")
@folder_option
@json_option
def command(*, folder: Place, as_json: bool, settings: Settings) -> None:
    """List what is below --dir: snapshots, runs and reconciles, with verdict, size and age.

    Reads files only. What cannot be read is listed with the reason.
    """
    directory = wiring.open_folder(folder)
    at_work = process_at_work(directory)
    kept = take_inventory(directory, wiring.seal_key(settings))
    if as_json:
        write_document(
            {
                "folder": absolute(folder),
                "at_work": at_work,
                "snapshots": [asdict(one) for one in kept],
            }
        )
        return
    if not kept:
        missing = [] if directory.is_shared or is_folder(directory.local.path) else [_MISSING]
        write_line(": ".join([f"no snapshot in {folder}", *missing]))
        if at_work is not None:
            write_line(f"another q2v works here: {at_work}")
            write_line(advise("next: wait until it has ended; then `q2v status`"))
            return
        write_line(advise("next: `q2v snapshot`"))
        return
    for line in _lines(kept, str(folder), now_s=wiring.system_clock().wall_s()):
        write_line(line)
    if at_work is not None:
        write_line(f"another q2v works here: {at_work}; what it writes is not all shown yet")
    write_line(advise("next: `q2v status` says where the newest run stands"))


def _lines(kept: Sequence[Kept], folder: str, *, now_s: float) -> Iterator[str]:
    """A line for each thing, below what it belongs to."""
    for snapshot in kept:
        yield from wrapped(_snapshot(snapshot, now_s), then="    ")
        for run in snapshot.runs:
            yield from wrapped(_run(run, now_s), first="  ", then="      ")
            for judged in run.reconciles:
                yield from wrapped(_reconcile(judged, now_s), first="    ", then="        ")
    total = sum(one.bytes or 0 for one in kept)
    yield ""
    unknown = sum(one.bytes is None for one in kept)  # begun, or it cannot be read
    rest = f", and {format_count(unknown)} of unknown size" if unknown else ""
    yield f"{_plural(len(kept), 'snapshot')} in {folder}, {format_bytes(total)} of points{rest}"


def _snapshot(kept: Kept, now_s: float) -> str:
    words = [f"snapshot {Path(kept.path).name}", f"{kept.state}{_age(kept.sealed_at, now_s)}"]
    if kept.points is not None:
        words.append(_plural(kept.points, "point"))
    if kept.bytes is not None:
        words.append(format_bytes(kept.bytes))
    if kept.collection is not None:
        words.append(f"collection {kept.collection}")
    if kept.parent is not None:
        words.append(f"difference to {kept.parent}")
    return ", ".join(words)


def _run(run: Moved, now_s: float) -> str:
    words = [f"run {Path(run.path).name}", run.phase]
    if begun := _age(run.created_at, now_s):
        words.append(f"begun{begun}")
    if run.vectors is not None:
        words.append(_plural(run.vectors, "vector"))
    if run.index is not None:
        words.append(f"index {run.index}")
    if run.gate is not None:
        words.append(f"gate {run.gate}")
    return ", ".join(words)


def _reconcile(judged: Judged, now_s: float) -> str:
    found = "".join(f", {name} {format_count(count)}" for name, count in judged.drift.items())
    name = Path(judged.path).name
    return f"reconcile {name}, {judged.verdict}{_age(judged.at, now_s)}{found}"


def _age(stamp: str | None, now_s: float) -> str:
    """`, 2 h old`; nothing for a stamp that is no time or lies ahead."""
    try:
        then = datetime.fromisoformat(stamp or "")
    except ValueError:
        return ""
    age_s = now_s - then.replace(tzinfo=then.tzinfo or UTC).timestamp()
    return f" {format_duration(age_s)} ago" if age_s >= 0 else ""


def _plural(count: int, thing: str) -> str:
    return f"{format_count(count)} {thing}{'' if count == 1 else 's'}"
