"""The commands: a module for each, which parses, calls the library and shows what came of it."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is imported when it is called."""

    place: str  # "module:attribute"
    summary: str  # for `q2v --help`, which imports none
    extra: str = ""  # the optional part of the installation that it needs
    resumes: bool = True  # after a failure; False: it begins again from nothing

    def load(self) -> "click.Command":
        """Import the command."""
        import click  # noqa: PLC0415 - the table alone is cheap to import

        module, _, attribute = self.place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


COMMANDS: dict[str, LazyCommand] = {
    "init": LazyCommand(
        "q2v.commands.prepare.init:command",
        "Write the first migration.toml for the shape of the payloads.",
        resumes=False,
    ),
    "check": LazyCommand(
        "q2v.commands.inspect.check:command",
        "Ask everything that a move needs, in seconds; write nothing.",
        resumes=False,
    ),
    "plan": LazyCommand(
        "q2v.commands.prepare.plan.command:command",
        "Check every point against every limit; write nothing.",
        resumes=False,
    ),
    "runbook": LazyCommand(
        "q2v.commands.prepare.runbook:command",
        "Write the runbook of this migration.",
        resumes=False,
    ),
    "provision": LazyCommand(
        "q2v.commands.prepare.provision:command",
        "Create vector index, metadata indexes and KV namespaces.",
    ),
    "worker": LazyCommand(
        "q2v.commands.prepare.worker:command",
        "Write a Worker's project with the names of this migration.",
        resumes=False,
    ),
    "snapshot": LazyCommand(
        "q2v.commands.move.snapshot:command", "Read the whole collection into sealed Parquet."
    ),
    "migrate": LazyCommand("q2v.commands.move.migrate:command", "Write a snapshot to the target."),
    "catch-up": LazyCommand(
        "q2v.commands.move.catch_up:command",
        "Move what has changed in Qdrant since; deletions too.",
    ),
    "pace": LazyCommand(
        "q2v.commands.move.pace:command", "Slow down or pause the commands that run."
    ),
    "reconcile": LazyCommand(
        "q2v.commands.prove.reconcile:command",
        "Compare source, snapshot and target; write to neither.",
    ),
    "fleet": LazyCommand(
        "q2v.commands.fleet.command:command",
        "Plan, run or show many moves under one budget an account.",
    ),
    "parity": LazyCommand(
        "q2v.commands.prove.parity:command", "Measure whether search still answers the same."
    ),
    "gate": LazyCommand(
        "q2v.commands.prove.gate:command",
        "Say go or no-go for the cutover, with the evidence.",
        resumes=False,
    ),
    "report": LazyCommand(
        "q2v.commands.prove.report:command",
        "Write one HTML page about a run, for a ticket.",
        resumes=False,
    ),
    "monitor": LazyCommand(
        "q2v.commands.after.monitor:command",
        "Check the target against itself, after the cutover.",
        resumes=False,
    ),
    "decommission": LazyCommand(
        "q2v.commands.after.decommission:command",
        "Say what is still unproven before Qdrant is taken away.",
    ),
    "rollback": LazyCommand(
        "q2v.commands.undo.rollback:command",
        "Show what a rollback would undo; with --execute, undo it.",
    ),
    "restore": LazyCommand(
        "q2v.commands.undo.restore:command", "Write a snapshot back into a Qdrant collection."
    ),
    "reset-target": LazyCommand(
        "q2v.commands.undo.reset_target:command",
        "Empty the target of what runs and a list name.",
    ),
    "status": LazyCommand(
        "q2v.commands.inspect.status:command",
        "Say where a run stands, and the exact next command.",
        resumes=False,
    ),
    "list": LazyCommand(
        "q2v.commands.inspect.list:command",
        "List snapshots, runs and reconciles of a folder.",
        resumes=False,
    ),
    "explain": LazyCommand(
        "q2v.commands.inspect.explain:command",
        "Say what a word or message of q2v means, and what to do.",
        resumes=False,
    ),
    "verify": LazyCommand(
        "q2v.commands.prove.verify:command",
        "Check a snapshot or an archive against its own digests.",
    ),
    "archive": LazyCommand(
        "q2v.commands.after.archive:command",
        "Write a run and its snapshots into one self-checking file.",
    ),
    "rehearse": LazyCommand(
        "q2v.commands.rehearsal.rehearse:command",
        "Rehearse the whole move in a local sandbox.",
        "rehearsal",
    ),
    "sandbox": LazyCommand(
        "q2v.commands.rehearsal.sandbox:command",
        "Serve the sandbox for the target until stopped.",
        "rehearsal",
    ),
}
