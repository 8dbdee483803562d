"""What `q2v provision` shows at its end."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from migrate.provision import NOT_CREATED, ProvisionReport
from migrate.wrangler.change import FileChange
from migrate.wrangler.commands import Command
from migrate.wrangler.env_types import env_interface
from q2v.commands.prepare.worker_files import WorkerFiles
from q2v.output.advice import advise
from q2v.output.following import Following
from q2v.output.render import render


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The target, the changes to files, and what comes next."""

    report: ProvisionReport
    files: WorkerFiles
    changes: Sequence[FileChange]  # to them
    warnings: Sequence[str]
    following: Following
    configured_id: str | None  # of the KV namespace, by the settings
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCommands:
    """Commands for the Worker's project."""

    release: Sequence[Command]
    put: Sequence[Command]
    back: Sequence[Command]
    delete: Sequence[Command]


def show(outcome: Outcome, commands: WorkerCommands, *, as_json: bool) -> None:
    """The outcome as JSON or as lines."""
    report, dry_run = outcome.report, outcome.dry_run
    kv_id = _existing(report.kv_namespace_id)
    following, environment = outcome.following, {}
    if kv_id is not None and kv_id != outcome.configured_id:
        environment["Q2V_KV_NAMESPACE_ID"] = kv_id
        text = f"set Q2V_KV_NAMESPACE_ID={kv_id}, then {following.text}"
        following = replace(following, text=text)
    render(
        {
            "vector_index": report.vector_index,
            "dimensions": report.dimensions,
            "metric": report.metric,
            "dry_run": dry_run,
            "missing": report.missing,
            "index_created": report.index_created,
            "metadata_indexes": report.metadata_indexes,
            "kv_namespace_id": kv_id,
            "kv_preview_namespace_id": _existing(report.kv_preview_namespace_id),
            "kv_jurisdiction": report.kv_jurisdiction,
            "wrangler_toml": report.bindings.toml(),
            "wrangler_jsonc": report.bindings.jsonc(),
            "env_interface": env_interface(report.bindings, outcome.files.secrets),
            "files": [_document(change, written=not dry_run) for change in outcome.changes],
            "release_commands": _lines(commands.release),
            "secret_commands": _lines(commands.put),
            "back_commands": _lines(commands.back),
            "secret_delete_commands": _lines(commands.delete),
            "warnings": outcome.warnings,
            **following.document(),
            "next_environment": environment,
        },
        [
            *([("dry run", "nothing is created or written")] if dry_run else []),
            ("vector index", f"{report.vector_index} ({report.dimensions}, {report.metric})"),
            ("metadata indexes", ", ".join(report.metadata_indexes) or "none"),
            ("KV namespace", report.kv_namespace),
            ("KV preview namespace", report.kv_preview_namespace),
            ("would create" if dry_run else "created", ", ".join(report.missing) or "nothing"),
        ],
        as_json=as_json,
        notes=[
            *(f"warning: {warning}" for warning in outcome.warnings),
            *_files(outcome),
            *_commands(commands),
            "",
            f"next: {following.text}",
        ],
    )


def _existing(namespace_id: str | None) -> str | None:
    return None if namespace_id == NOT_CREATED else namespace_id


def _document(change: FileChange, *, written: bool) -> dict[str, object]:
    return {
        "file": change.path,
        "changed": change.is_change,
        "written": change.is_change and written,
        "diff": change.diff(),
    }


def _lines(commands: Sequence[Command]) -> list[str]:
    return [shlex.join(one) for one in commands]


def _typed(commands: Sequence[Command]) -> list[str]:
    """Each on a line of its own, which is never wrapped."""
    return [f"  {line}" for line in _lines(commands)]


def _files(outcome: Outcome) -> list[str]:
    """The changes to files; of files that were not named, what belongs in them."""
    bindings, files = outcome.report.bindings, outcome.files
    lines: list[str] = []
    done = "not written, because of --dry-run" if outcome.dry_run else "written"
    for change in outcome.changes:
        if change.is_change:
            lines += ["", *change.diff(), f"{change.path}: {done}"]
        else:
            lines += ["", f"{change.path}: no change"]
    if files.wrangler is None:
        title = "wrangler.toml (--wrangler FILE puts it into yours):"
        lines += ["", title, *bindings.toml().splitlines()]
        lines += ["", "wrangler.jsonc:", *bindings.jsonc().splitlines()]
    if files.types is None:
        title = "TypeScript (--env-types FILE writes it):"
        lines += ["", title, *env_interface(bindings, files.secrets).splitlines()]
    return lines


def _put(commands: WorkerCommands) -> list[str]:
    """How to store the secrets that were named, or how to name them."""
    if not commands.put:
        return ["secrets of the Worker, such as a key to embed texts: --secret NAME prints how", ""]
    return [
        "secrets of the Worker (a value is asked for, or read from a pipe; each makes a version):",
        *_typed(commands.put),
        "",
    ]


def _commands(commands: WorkerCommands) -> list[str]:
    """Each group of commands, under a line that says when to run it."""
    return [
        "",
        advise(
            "Run these in the Worker's folder, where wrangler finds its name. First, to note the "
            "id of the version that runs now (`q2v gate --until TIME --worker-version ID` keeps "
            "it):"
        ),
        *_typed(commands.release),
        "",
        *_put(commands),
        "to go back after the cutover, with the id that was noted in place of VERSION (without an "
        "id the version before the newest runs, which may be one that a secret made); KV and "
        "Vectorize stay as they are:",
        *_typed(commands.back),
        "",
        advise(
            "not before a week after the cutover, because the way back needs them until then "
            "(`q2v decommission` says when):"
        ),
        *_typed(commands.delete),
    ]
