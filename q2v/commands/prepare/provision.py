"""`q2v provision`: vector index, metadata indexes and KV namespaces, before the first upload."""

import shlex
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import click

from migrate.cloudflare.access import probe_access, verify_token
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.mapping.value_rules import VARIABLE_NAME
from migrate.mapping.values import ValueRules
from migrate.plan.target_shape import choose_values
from migrate.provision import ProvisionReport, check_title, provision
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from q2v.options import SEAL, SHAPE, SOURCE, TARGET, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.following import Following, following_here
from q2v.output.progress import open_progress
from q2v.output.render import render
from q2v.settings import Settings


def _check_names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Raises BadParameter for a name that wrangler would read as something else."""
    for name in names:
        if VARIABLE_NAME.read(name) is None:
            raise click.BadParameter(f"{name!r} is not {VARIABLE_NAME.expected}")
    return names


@takes(
    *SOURCE,
    *TARGET,
    *SHAPE,
    "target.kv_jurisdiction",
    "target.metadata_indexes",
    "limits.settle_timeout_s",
    "limits.poll_s",
    SEAL,
)
@click.command("provision")
@click.option("--kv-title", help="Title of the KV namespace.  [default: <vector index>-files]")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    callback=_check_names,
    default=("OPENAI_API_KEY",),
    show_default=True,
    help="Name of a secret of your Worker, for the commands printed. May be repeated.",
)
@click.option("--allow-cast", is_flag=True, help="Accept uint8 or float16 values as float32.")
@folder_option
@json_option
def command(
    *,
    kv_title: str | None,
    secrets: tuple[str, ...],
    allow_cast: bool,
    folder: Path,
    as_json: bool,
    settings: Settings,
) -> None:
    """Create what the plan needs on the target; what is there already is checked and kept.

    The shape comes from the newest snapshot under --dir, or else from the source itself.
    """
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        runtime = Runtime(clock=clock, progress=progress)
        choices = wiring.Choices(allow_cast=allow_cast)
        report = provision_target(settings, directory, choices, runtime, kv_title=kv_title)
        key = wiring.seal_key(settings)
        following = following_here(
            directory, settings, key, provisioned=True, index_added=bool(report.warnings)
        )
    is_named = settings.target.kv_namespace_id == report.kv_namespace_id
    commands = tuple(shlex.join(["wrangler", "secret", "put", name]) for name in secrets)
    show(report, following, commands, is_named=is_named, as_json=as_json)


def provision_target(
    settings: Settings,
    folder: LocalFolder,
    choices: wiring.Choices,
    runtime: Runtime,
    *,
    kv_title: str | None = None,
) -> ProvisionReport:
    """Create what the settings name, in the shape of the newest snapshot or of the source.

    Raises PreconditionError when an index of the same name has another shape.
    """
    rules = wiring.provision_rules(settings, kv_title)
    check_title(rules.kv_title)
    values = _values(settings, folder, choices, runtime)
    clock, progress = runtime.clock, runtime.progress
    http, _, _ = wiring.open_http(settings, folder, clock=clock, progress=progress)
    with closing(http):
        name = settings.target.vector_index
        assert name is not None
        verify_token(http)
        probe_access(http, index_name=name, namespace_id=None)
        vectors = VectorizeTarget(http, name)
        return provision(vectors, wiring.open_namespaces(http), values, rules, runtime)


def _values(
    settings: Settings, folder: LocalFolder, choices: wiring.Choices, runtime: Runtime
) -> ValueRules:
    """The shape of the newest snapshot, or of the source."""
    sealed = sealed_folders(folder)
    if sealed:
        snapshot = Snapshot(sealed[-1], wiring.seal_key(settings))
        wiring.check_snapshot_collection(snapshot, settings)
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


def show(
    report: ProvisionReport,
    following: Following,
    secret_commands: tuple[str, ...],
    *,
    is_named: bool,
    as_json: bool,
) -> None:
    """The report as JSON or as lines; `is_named`: the settings name the namespace already."""
    then, warnings = following.text, [advise(warning) for warning in report.warnings]
    if not is_named:
        then = f"set Q2V_KV_NAMESPACE_ID={report.kv_namespace_id}, then {then}"
    render(
        {
            "vector_index": report.vector_index,
            "dimensions": report.dimensions,
            "metric": report.metric,
            "index_created": report.index_created,
            "metadata_indexes": report.metadata_indexes,
            "kv_namespace_id": report.kv_namespace_id,
            "kv_preview_namespace_id": report.kv_preview_namespace_id,
            "kv_jurisdiction": report.kv_jurisdiction,
            "wrangler_toml": report.wrangler_toml,
            "wrangler_jsonc": report.wrangler_jsonc,
            "secret_commands": secret_commands,
            "warnings": warnings,
            **following.document(),
        },
        [
            (
                "vector index",
                f"{report.vector_index} ({report.dimensions}, {report.metric}), "
                + ("created" if report.index_created else "was there"),
            ),
            ("metadata indexes", ", ".join(report.metadata_indexes) or "none"),
            ("KV namespace", report.kv_namespace),
            ("KV preview namespace", report.kv_preview_namespace),
        ],
        as_json=as_json,
        notes=[
            *(f"warning: {warning}" for warning in warnings),
            "",
            "wrangler.toml:",
            *report.wrangler_toml.splitlines(),
            "",
            "wrangler.jsonc:",
            *report.wrangler_jsonc.splitlines(),
            "",
            "secrets of the Worker, to be run in its folder, where wrangler finds its name (the",
            "value is asked for, or read from a pipe):",
            *secret_commands,
            "",
            f"next: {then}",
        ],
    )
