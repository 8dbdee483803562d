"""The files of a Worker's project that `q2v provision` writes: wrangler's, and the type of Env."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from migrate.errors import UsageError
from migrate.provision import ProvisionRules
from migrate.wrangler.bindings import Bindings
from migrate.wrangler.change import FileChange, new_file, read_file
from migrate.wrangler.env_types import env_file
from migrate.wrangler.merge import ENDINGS, environments_without, merge_bindings
from q2v.output.logs import PROCESS_MASKER
from q2v.output.terminal import can_ask, escape_terminal, write_text

# The names that wrangler looks for in a folder, the first one that exists.
_SEARCHED = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFiles:
    """Which files to write, and for which environment of the Worker."""

    wrangler: Path | None
    env: str | None
    types: Path | None
    secrets: tuple[str, ...]  # members of Env besides the bindings

    def check(self, rules: ProvisionRules) -> None:
        """As `changes`, before the ids of the namespaces are known."""
        bindings = Bindings(
            vector_binding=rules.vector_binding,
            kv_binding=rules.kv_binding,
            vector_index="",
            shards=rules.shards,
            kv_namespace_id="",
        )
        clash = bindings.names().intersection(self.secrets)
        if clash:
            raise UsageError(
                f"--secret {min(clash)}: found the name of a binding, expected another name",
                remedy="correct --secret, or target.vector_binding and target.kv_binding",
            )
        if self.wrangler is not None:
            self._merged(self.wrangler, bindings)
        if self.types is not None:
            new_file(self.types, env_file(bindings, self.secrets))

    def _merged(self, path: Path, bindings: Bindings) -> FileChange:
        before = read_file(path)
        return FileChange(
            path, before, merge_bindings(before, bindings, file=str(path), env=self.env)
        )

    def changes(self, bindings: Bindings) -> list[FileChange]:
        """What the files would hold, each with what it holds now; writes nothing.

        Raises UsageError or PreconditionError for a file that cannot take the bindings.
        """
        found = []
        if self.wrangler is not None:
            found.append(self._merged(self.wrangler, bindings))
        if self.types is not None:
            found.append(new_file(self.types, env_file(bindings, self.secrets)))
        return found

    def warnings(self, bindings: Bindings) -> list[str]:
        """Why a Worker might not see the bindings although the file has them."""
        path = self.wrangler
        if path is None:
            return []
        found = []
        names = _SEARCHED[: _SEARCHED.index(path.name)] if path.name in _SEARCHED else ()
        read = [name for name in names if read_file(path.with_name(name)) is not None]
        if read:
            found.append(
                f"wrangler reads {read[0]} and not {path.name}, because both are in one folder: "
                f"name {read[0]}, or remove it"
            )
        left = environments_without(self._merged(path, bindings).after, bindings, file=str(path))
        if left and self.env is None:
            found.append(
                f"environments of {path.name} inherit no bindings: {', '.join(left)} without them; "
                "run `q2v provision` again with --env for each that needs them"
            )
        return found


def check_ending(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Raises BadParameter for a file that wrangler does not read."""
    if path is not None and path.suffix not in ENDINGS:
        raise click.BadParameter(f"{path}: expected a name that ends in {', '.join(ENDINGS)}")
    return path


def check_askable(changes: Sequence[FileChange], *, yes: bool) -> None:
    """Raises UsageError when a change needs an answer that cannot be given."""
    for change in changes:
        if change.is_change and not yes and not can_ask():
            raise UsageError(
                f"writing {change.path} needs confirmation, but stdin is not a terminal",
                remedy="pass --yes; with --dry-run the change is shown and nothing is written",
            )


def write_changes(changes: Sequence[FileChange], *, yes: bool) -> None:
    """Show each change and ask, unless `yes`, then write. Raises UsageError when it is declined."""
    changes = [change for change in changes if change.is_change]
    if changes and not yes:
        for line in (line for change in changes for line in change.diff()):
            write_text(sys.stderr, escape_terminal(PROCESS_MASKER.mask(line)) + "\n")
        names = ", ".join(str(change.path) for change in changes)
        if not click.confirm(f"Write {names}?", err=True):
            raise UsageError(
                f"{names}: not written",
                remedy="the target is ready; run the same command again to write it",
            )
    for change in changes:
        change.write()
