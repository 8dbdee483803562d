"""`q2v provision`: vector index, metadata indexes and KV namespaces, before the first upload."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from q2v import wiring
from q2v.forms import VARIABLE_NAME_FORM, is_variable_name
from q2v.options import folder_option, json_option, settings_options
from q2v.output.progress import open_progress
from q2v.output.render import render
from q2v.reads import READS
from q2v.settings import Settings
from q2v.steps import provisioning
from q2v.steps.following import Following, following_here
from q2v.steps.provisioning import ProvisionReport


def _check_names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Raises BadParameter for a name that wrangler would read as something else."""
    for name in names:
        if not is_variable_name(name):
            raise click.BadParameter(f"{name!r} is not {VARIABLE_NAME_FORM}")
    return names


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
@settings_options(*READS["provision"])
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
    clock = wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        report = provisioning.provision(
            settings,
            folder,
            kv_title=kv_title,
            secrets=secrets,
            allow_cast=allow_cast,
            clock=clock,
            progress=progress,
        )
        key = wiring.seal_key(settings)
        following = following_here(
            folder, settings, key, provisioned=True, index_added=bool(report.warnings)
        )
    is_named = settings.target.kv_namespace_id == report.kv_namespace_id
    show(report, following, is_named=is_named, as_json=as_json)


def show(report: ProvisionReport, following: Following, *, is_named: bool, as_json: bool) -> None:
    """The report as JSON or as lines; `is_named`: the settings name the namespace already."""
    then = following.text
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
            "secret_commands": report.secret_commands,
            "warnings": report.warnings,
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
            *(f"warning: {one}" for one in report.warnings),
            "",
            "wrangler.toml:",
            *report.wrangler_toml.splitlines(),
            "",
            "wrangler.jsonc:",
            *report.wrangler_jsonc.splitlines(),
            "",
            "secrets of the Worker, to be run in its folder, where wrangler finds its name (the",
            "value is asked for, or read from a pipe):",
            *report.secret_commands,
            "",
            f"next: {then}",
        ],
    )
