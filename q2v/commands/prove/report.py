"""`q2v report`: one HTML page about a run, from the files that other commands wrote."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.plan.saved.record import BYTES_MAX, KIND, decode_saved
from migrate.run.choose.find import find_run
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder
from migrate.snapshot.folder import snapshot_around
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import PAGE
from migrate.storage.local_folder import LocalFolder, local_file
from q2v import wiring
from q2v.invocation import Place
from q2v.options import RUN, folder_option, json_option, takes
from q2v.output.following import Following, following_run
from q2v.output.named_files import Kind, check_result_file, only_writer
from q2v.output.render import Cell, format_bytes, render
from q2v.rules.scope import own_index, refuse_idle_index
from q2v.settings import Settings
from q2v.version import made_by
from reconcile.page import (
    Documents,
    NextStep,
    is_parity,
    is_preflight,
    of_run,
    payloads_of,
    render_page,
    verdict_of,
)
from reconcile.page.documents import FileSum

_KIND = Kind("a page of q2v", (b"<!doctype html>", b" - q2v</title>"))


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    out: Path | None
    plan: Path | None
    parity: tuple[Path, ...]
    show_payloads: bool
    folder: Place
    as_json: bool


@takes("target.metadata_indexes", *RUN)
@click.command("report")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write; an earlier page is replaced, no other file.  [default: report.html "
    "of the run]",
)
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `q2v plan` saved with --out, or printed with --json, to be shown too.",
)
@click.option(
    "--parity",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `q2v parity --json` printed, to be shown too; the records of the run are anyway.",
)
@click.option(
    "--show-payloads",
    is_flag=True,
    help="Show the payloads of the first 100 vectors that differ. Without it no content is shown.",
)
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Write one HTML page about RUN (default: the newest), for a ticket.

    It has identity, verdict, counts, every id that differs, gate, parity, timeline and the sums of
    the files that it is made from, and loads nothing. The same files give the same bytes.
    With --plan or --parity and --out no run is needed. Reads files only; asks no store.
    """
    refuse_idle_index(settings)
    directory = wiring.open_folder(flags["folder"])
    named = None if flags["out"] is None else _place(flags["out"])
    following: Following | None = None
    with ExitStack() as stack:
        stack.enter_context(FolderLock(directory))
        run = _find_run(directory, settings, flags)
        documents = Documents(made_by=made_by())
        if run is not None:
            stack.callback(run.close)
            documents = replace(of_run(run), made_by=made_by())
            following = following_run(run, settings, alone=True)
            step = NextStep(
                means=following.situation.means,
                text=following.text,
                is_command=bool(following.argv),
            )
            documents = replace(documents, next_step=step)
            if flags["show_payloads"]:
                documents = replace(documents, payloads=payloads_of(run, documents))
        documents = _with_files(documents, flags, wiring.seal_key(settings))
        out = _beside(run) if named is None else named
        content = render_page(documents).encode()
        with only_writer(flags["out"]):
            sha256 = out.write(content)
    _show(out, documents, following, size=len(content), sha256=sha256, as_json=flags["as_json"])


def _find_run(directory: WorkFolder, settings: Settings, flags: Flags) -> RunFolder | None:
    """The run; None when there is none and the page is about the files that were named."""
    named = wiring.open_named(directory, flags["run"])
    own = own_index(settings, named)
    try:
        return find_run(
            directory,
            named,
            wiring.seal_key(settings),
            own=own,
            read_only=True,
        )
    except UsageError:
        is_about_files = flags["plan"] is not None or flags["parity"]
        if named is not None or not is_about_files or flags["out"] is None:
            raise
        return None


def _with_files(documents: Documents, flags: Flags, key: SealKey | None) -> Documents:
    """The documents, with those that the operator names."""
    plans = [] if flags["plan"] is None else [local_file(flags["plan"])]
    parities = [local_file(path) for path in flags["parity"]]
    preflights = [_read_plan(file, key) for file in plans]
    kept = {_occasion(record) for record in documents.parity}
    measured = [
        one for file in parities if _occasion(one := _read_parity(file)) not in kept
    ]  # what a command printed is often in its record too
    sums = [FileSum(name=str(one), sha256=one.hash()[1]) for one in [*plans, *parities]]
    return replace(
        documents,
        preflight=preflights[0] if preflights else None,
        parity=(*documents.parity, *measured),
        files=(*documents.files, *sums),
    )


def _occasion(parity: Mapping[str, object]) -> tuple[object, ...]:
    """What tells one measurement from another."""
    return tuple(parity.get(name) for name in ("at", "snapshot_id", "run_id"))


def _read_plan(file: StoredFile, key: SealKey | None) -> dict[str, object]:
    """What a plan showed: of a saved plan, whose seal is checked, or of the JSON document."""
    _check_there(file, "plan")
    document = file.read_json_object(bytes_max=BYTES_MAX)
    if document.get("kind") == KIND:
        content = file.read(bytes_max=BYTES_MAX)
        document = decode_saved(content, where=str(file), key=key).shown
    return _accepted(file, document, is_preflight(document), "plan")


def _read_parity(file: StoredFile) -> dict[str, object]:
    """What a measurement found."""
    _check_there(file, "parity")
    document = file.read_json_object(bytes_max=REPORT_BYTES_MAX)
    return _accepted(file, document, is_parity(document), "parity")


def _check_there(file: StoredFile, command_name: str) -> None:
    if not file.is_there():
        raise _refused(file, "no such file", command_name)


def _accepted(
    file: StoredFile, document: dict[str, object], is_one: bool, command_name: str
) -> dict[str, object]:
    if not is_one:
        raise _refused(file, "another document", command_name)
    return document


def _refused(file: StoredFile, found: str, command_name: str) -> UsageError:
    return UsageError(
        f"{file}: found {found}, expected what `q2v {command_name} --json` prints",
        remedy=f"write it with `q2v {command_name} --json > FILE`",
    )


def _beside(run: RunFolder | None) -> StoredFile:
    """Where the page lies without a name: in the folder of the run, which then has to be there."""
    assert run is not None
    return run.folder.file(PAGE)


def _place(out: Path) -> StoredFile:
    """The file that is named for the page, before anything is read.

    Raises UsageError for one inside of a snapshot, and as `check_result_file`.
    """
    owner = snapshot_around(LocalFolder(out.parent.absolute()))
    if owner is not None:
        raise UsageError(
            f"--out {out}: found a folder of snapshot {owner.name}, expected one outside of it",
            remedy="name a file in another folder, or leave --out out: the page then lies beside "
            "the run's plan",
        )
    check_result_file(out, flag="--out", kind=_KIND)
    return local_file(out)


def _show(
    out: StoredFile,
    documents: Documents,
    following: Following | None,
    *,
    size: int,
    sha256: str,
    as_json: bool,
) -> None:
    verdict = verdict_of(documents)
    run_id = None if documents.plan is None else str(documents.plan["run_id"])
    cells: list[tuple[str, Cell]] = [
        ("page", str(out)),
        *([] if run_id is None else [("run", run_id)]),
        ("verdict", verdict.word),
        ("why", verdict.sentence),
        ("size", format_bytes(size)),
        ("sha256", sha256),
    ]
    render(
        {
            "page": str(out),
            "run_id": run_id,
            "verdict": verdict.word,
            "why": verdict.sentence,
            "bytes": size,
            "sha256": sha256,
            **({} if following is None else following.document()),
        },
        cells,
        as_json=as_json,
        notes=[] if following is None else following.notes(),
    )
