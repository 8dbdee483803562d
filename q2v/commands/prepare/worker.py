"""`q2v worker`: a Worker's project with the names of this migration, and the verifier's end."""

import shlex
import sys
from pathlib import Path

import click

from migrate.errors import PreconditionError
from migrate.file_stores.rules import FileStoreRules
from migrate.runtime import Runtime
from migrate.storage.durable import is_folder, make_folder
from migrate.storage.folder import WorkFolder
from migrate.wrangler.bindings import Bindings
from migrate.wrangler.change import FileChange, read_file
from q2v import wiring
from q2v.commands.prepare.provision import target_values
from q2v.invocation import Place
from q2v.options import MAPPING, SEAL, SHAPE, SOURCE, VERIFIER, folder_option, json_option, takes
from q2v.output.progress import open_progress
from q2v.output.render import render
from q2v.rules.required import check_required
from q2v.rules.stages import Choices, mapping_rules, write_rules
from q2v.settings import Settings
from q2v.worker.project import WorkerProject, notes
from q2v.worker.removal import removal_steps


@takes(
    *SOURCE,
    *SHAPE,
    *MAPPING,
    "target.vector_index",
    "target.shards",
    "target.kv_namespace_id",
    "target.vector_binding",
    "target.kv_binding",
    *VERIFIER,
    "limits.vectors_per_upload",
    "limits.body_bytes",
    "kv.ttl_s",
    SEAL,
)
@click.command("worker")
@click.argument("action", type=click.Choice(["init", "remove-steps"]))
@click.argument("project", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@folder_option
@json_option
def command(
    *, action: str, project: Path, folder: Place, as_json: bool, settings: Settings
) -> None:
    """Write a Worker's project into DIR, or say how to remove the verifier that it deployed.

    init writes the store, the verifier, tests, and wrangler's files, with the names and rules of
    this migration. The shape of the vectors comes from the newest snapshot under --dir, or else
    from the source. A file with another content is never replaced. remove-steps prints the steps
    that take the verifier away after the window, and does none of them.
    """
    if action == "remove-steps":
        _show_removal(project, settings, as_json=as_json)
        return
    _init(project, settings, folder, as_json=as_json)


def _show_removal(project: Path, settings: Settings, *, as_json: bool) -> None:
    target = settings.target
    steps = removal_steps(project, target.verifier_url, target.verifier_key)
    document = {
        "project": project,
        "steps": [{"what": step.what, "command": step.command} for step in steps],
    }
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. {step.what}")
        lines += [] if step.command is None else [f"   {step.command}"]
    render(document, [("project", str(project))], as_json=as_json, notes=lines)


def _init(project: Path, settings: Settings, folder: Place, *, as_json: bool) -> None:
    index = () if settings.target.shards else ("target.vector_index",)
    check_required(settings, *index, "target.kv_namespace_id")
    found = _project(settings, wiring.open_folder(folder))
    changes = _changes(project, found.files())
    for change in changes:
        make_folder(change.path.parent)
        change.write()
    written = sum(change.is_change for change in changes)
    names, rules = found.bindings, found.rules
    document = {
        "project": project,
        "files": list(found.files()),
        "written": written,
        "dimensions": rules.dimensions,
        "vector_indexes": names.vector_bindings(),
        "kv_namespace_id": names.kv_namespace_id,
        "notes": notes(rules),
    }
    rows = (
        ("project", str(project)),
        ("files", len(changes)),
        ("written", written),
        ("dimensions", str(rules.dimensions)),
    )
    following = f"next: cd {shlex.quote(str(project))} && npm install && npm test"
    render(document, rows, as_json=as_json, notes=[*notes(rules), following])


def _project(settings: Settings, folder: WorkFolder) -> WorkerProject:
    clock = wiring.system_clock()
    with open_progress(sys.stderr, clock) as progress:
        runtime = Runtime(clock=clock, progress=progress)
        values = target_values(settings, folder, Choices(allow_cast=True), runtime)
    shards = settings.target.shards
    index = shards[0] if shards else settings.target.vector_index
    assert index is not None
    assert settings.target.kv_namespace_id is not None
    return WorkerProject(
        bindings=Bindings(
            vector_binding=settings.target.vector_binding,
            kv_binding=settings.target.kv_binding,
            vector_index=index,
            shards=shards,
            kv_namespace_id=settings.target.kv_namespace_id,
        ),
        rules=FileStoreRules(
            dimensions=values.dimensions,
            metric=values.metric,
            mapping=mapping_rules(settings, of_all=True),
            writes=write_rules(settings, of_all=True),
        ),
    )


def _changes(project: Path, files: dict[str, bytes]) -> list[FileChange]:
    """What is to be written. Raises PreconditionError, before anything is, for another content."""
    changes = []
    for name, content in files.items():
        path = project / name
        before = read_file(path) if is_folder(path.parent) else None
        if before not in {None, content}:
            raise PreconditionError(
                f"{path} exists with another content; nothing was written",
                remedy="name a new folder, and take over what you need",
            )
        changes.append(FileChange(path, before, content))
    return changes
