"""`q2v provision`: vector index, metadata indexes and KV namespaces, before the first upload."""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.cloudflare.access import probe_access, verify_token
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import UsageError
from migrate.mapping.value_rules import VARIABLE_NAME
from migrate.mapping.values import ValueRules
from migrate.plan.target_shape import choose_values
from migrate.provision import (
    Found,
    ProvisionReport,
    ProvisionRules,
    check_late,
    check_titles,
    create_missing,
    describe,
    find_target,
)
from migrate.run.choose.matching import check_collection
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.wrangler.commands import (
    OLD_SECRETS,
    back_commands,
    release_commands,
    secret_commands,
    secret_delete_commands,
)
from q2v import wiring
from q2v.commands.prepare.provision_outcome import Outcome, WorkerCommands, show
from q2v.commands.prepare.worker_files import (
    WorkerFiles,
    check_askable,
    check_ending,
    write_changes,
)
from q2v.invocation import Place
from q2v.options import (
    SEAL,
    SHAPE,
    SOURCE,
    TARGET,
    Question,
    confirm_name,
    folder_option,
    json_option,
    takes,
    yes_option,
)
from q2v.output.advice import advise
from q2v.output.following import TargetNow, following_here
from q2v.output.progress import open_progress
from q2v.rules.stages import Choices, provision_rules
from q2v.settings import Settings


class Flags(TypedDict):
    """What the operator typed."""

    kv_title: str | None
    kv_preview_title: str | None
    no_preview: bool
    wrangler: Path | None
    env: str | None
    env_types: Path | None
    secrets: tuple[str, ...]
    old_secrets: tuple[str, ...]
    allow_cast: bool
    into_non_empty: bool
    dry_run: bool
    yes: bool
    folder: Place
    as_json: bool


def _check_names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Raises BadParameter for a name that wrangler would read as something else."""
    for name in names:
        if VARIABLE_NAME.read(name) is None:
            raise click.BadParameter(f"{name!r} is not {VARIABLE_NAME.expected}")
    return names


def _check_env(_: click.Context, __: click.Parameter, env: str | None) -> str | None:
    """Raises BadParameter for a name that is not one word of letters, digits, _ and -."""
    if env is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", env):
        raise click.BadParameter(f"{env!r}: expected letters, digits, _ and -, no - first")
    return env


@takes(
    *SOURCE,
    *TARGET,
    *SHAPE,
    "target.kv_jurisdiction",
    "target.shards",
    "target.vector_binding",
    "target.kv_binding",
    "target.metadata_indexes",
    "limits.settle_timeout_s",
    "limits.poll_s",
    SEAL,
)
@click.command("provision")
@click.option("--kv-title", help="Title of the KV namespace.  [default: <vector index>-files]")
@click.option(
    "--kv-preview-title",
    help="Title of the KV namespace for previews.  [default: <title>-preview]",
)
@click.option("--no-preview", is_flag=True, help="Make no KV namespace for previews of a Worker.")
@click.option(
    "--wrangler",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=check_ending,
    help="Put the bindings into this wrangler.toml, wrangler.json or wrangler.jsonc, or make it.",
)
@click.option(
    "--env", callback=_check_env, help="Environment of that file which gets the bindings."
)
@click.option(
    "--env-types",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the TypeScript interface Env of the Worker into this new file.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    callback=_check_names,
    help="Name of a secret that your Worker needs, such as a key of its embedding model; for the "
    "commands and the type printed. May be repeated.",
)
@click.option(
    "--old-secret",
    "old_secrets",
    multiple=True,
    callback=_check_names,
    default=OLD_SECRETS,
    show_default=True,
    help="Name of a secret that the Worker needs no more after the move. May be repeated.",
)
@click.option("--allow-cast", is_flag=True, help="Accept uint8 or float16 values as float32.")
@click.option(
    "--into-non-empty",
    is_flag=True,
    help="Add metadata indexes to an index that holds vectors; filters do not find those yet.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be created and written; do neither.")
@yes_option
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Create what the plan needs on the target; what is there already is checked and kept.

    The shape comes from the newest snapshot under --dir, or else from the source itself.
    """
    _refuse_idle(flags)
    files = WorkerFiles(
        wrangler=flags["wrangler"],
        env=flags["env"],
        types=flags["env_types"],
        secrets=flags["secrets"],
    )
    rules = provision_rules(
        settings,
        kv_title=flags["kv_title"],
        kv_preview_title=flags["kv_preview_title"],
        with_preview=not flags["no_preview"],
        into_non_empty=flags["into_non_empty"],
    )
    check_titles(rules)
    files.check(rules)
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    choices = Choices(allow_cast=flags["allow_cast"])
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        if not flags["dry_run"]:
            stack.enter_context(FolderLock(directory))
        runtime = Runtime(clock=clock, progress=progress)
        wanted = stack.enter_context(_open_wanted(settings, directory, choices, rules, runtime))
        found = wanted.find()
        report = wanted.describe(found)
        changes, warnings = files.changes(report.bindings), files.warnings(report.bindings)
        if not flags["dry_run"]:
            check_late(found, rules)
            check_askable(changes, yes=flags["yes"])
            confirm_creation(report, sure=flags["yes"] or wanted.is_local)
            report = wanted.create(found)
            changes = files.changes(report.bindings)
            write_changes(changes, yes=flags["yes"])
        key = wiring.seal_key(settings)
        following = following_here(
            directory,
            settings,
            key,
            TargetNow(
                provisioned=not (flags["dry_run"] and report.missing),
                holds_vectors=bool(found.index.late),
                index_added=bool(report.warnings) and not flags["dry_run"],
                missing=wanted.missing_indexes(),
            ),
        )
    outcome = Outcome(
        report=report,
        files=files,
        changes=changes,
        warnings=[advise(warning) for warning in (*report.warnings, *warnings)],
        following=following,
        configured_id=settings.target.kv_namespace_id,
        dry_run=flags["dry_run"],
    )
    show(outcome, worker_commands(flags), as_json=flags["as_json"])


def worker_commands(flags: Flags) -> WorkerCommands:
    """What is printed for the Worker's project besides its files."""
    env = flags["env"]
    return WorkerCommands(
        release=release_commands(env=env),
        put=secret_commands(flags["secrets"], env=env),
        back=back_commands(env=env),
        delete=secret_delete_commands(flags["old_secrets"], env=env),
    )


def _refuse_idle(flags: Flags) -> None:
    """Raises UsageError for a flag that would do nothing."""
    idle = []
    if flags["env"] is not None and flags["wrangler"] is None:
        idle.append("--env: this has no effect without --wrangler")
    if flags["kv_preview_title"] is not None and flags["no_preview"]:
        idle.append("--kv-preview-title: this has no effect with --no-preview")
    if idle:
        raise UsageError("; ".join(idle), remedy="leave it out")


def confirm_creation(report: ProvisionReport, *, sure: bool) -> None:
    """Ask for the index's name to be typed. Raises UsageError when it is not."""
    missing = ", ".join(report.missing)
    question = Question(
        f"creating {missing}",
        f"Creates {missing}. Type the name of the vector index to do so; anything else creates "
        "nothing",
        report.vector_index,
        remedy="pass --yes; --dry-run shows what would be created",
        refused="nothing was created",
    )
    confirm_name(question, sure=sure or not missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The wanted target, and the account in which it is to be."""

    http: CloudflareHttp
    vectors: VectorizeTarget
    namespaces: WorkersKvNamespaces
    values: ValueRules
    rules: ProvisionRules
    runtime: Runtime
    is_local: bool  # a loopback address: the sandbox

    def find(self) -> Found:
        """See find_target."""
        return find_target(self.vectors, self.namespaces, self.values, self.rules, self.runtime)

    def missing_indexes(self) -> frozenset[str]:
        """Those of several vector indexes that do not exist."""
        return frozenset(
            name
            for name in self.rules.shards
            if VectorizeTarget(self.http, name).read_index() is None
        )

    def describe(self, found: Found) -> ProvisionReport:
        """See describe."""
        return describe(found, self.values, self.rules)

    def create(self, found: Found) -> ProvisionReport:
        """See create_missing."""
        target = (self.vectors, self.namespaces)
        return create_missing(found, target, self.values, self.rules, self.runtime)


@contextmanager
def _open_wanted(
    settings: Settings,
    folder: WorkFolder,
    choices: Choices,
    rules: ProvisionRules,
    runtime: Runtime,
) -> Iterator[_Wanted]:
    """The account, its token checked, and the shape of the newest snapshot or of the source."""
    values = target_values(settings, folder, choices, runtime)
    clock, progress = runtime.clock, runtime.progress
    http, _, base_url = wiring.open_http(settings, folder, clock=clock, progress=progress)
    with closing(http):
        name = settings.target.vector_index
        assert name is not None
        verify_token(http)
        probe_access(http, index_name=name, namespace_id=None)
        yield _Wanted(
            http=http,
            vectors=VectorizeTarget(http, name),
            namespaces=wiring.open_namespaces(http),
            values=values,
            rules=rules,
            runtime=runtime,
            is_local=base_url.loopback,
        )


def provision_target(
    settings: Settings, folder: WorkFolder, choices: Choices, runtime: Runtime
) -> ProvisionReport:
    """Create what the settings name, in the shape of the newest snapshot or of the source.

    Asks nothing. Raises PreconditionError when an index of the same name has another shape.
    """
    rules = provision_rules(settings)
    with _open_wanted(settings, folder, choices, rules, runtime) as wanted:
        return wanted.create(wanted.find())


def target_values(
    settings: Settings, folder: WorkFolder, choices: Choices, runtime: Runtime
) -> ValueRules:
    """The shape of the newest snapshot, or of the source."""
    sealed = sealed_folders(folder)
    if sealed:
        snapshot = Snapshot(sealed[-1], wiring.seal_key(settings))
        # The vectors are those of the collection, whichever part of it the snapshot holds.
        origin = str(settings.origin("source.collection"))
        check_collection(snapshot, settings.source.collection, named_by=origin)
        vectors = snapshot.manifest.vectors
    else:
        with wiring.open_source(
            settings, folder, clock=runtime.clock, progress=runtime.progress
        ) as source:
            vectors = source.read_collection().vectors
    return choose_values(
        vectors,
        vector_name=settings.source.vector_name,
        dimensions=settings.mapping.dimensions,
        reduce=settings.mapping.reduce,
        allow_cast=choices.allow_cast,
    )
