"""Complete the commands that a text names in backquotes, so that they work when they are pasted."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from q2v.invocation import DEFAULT_FOLDER, Invocation, current_invocation
from q2v.options import taken_by
from q2v.output.configured import lying_beside
from q2v.settings import Settings

_COMMAND = re.compile(r"`(q2v [^`]+)`")
# Commands that take --dir as the folder of the snapshots; others are printed as they stand.
_WITH_FOLDER = frozenset(
    {
        "init",
        "check",
        "plan",
        "runbook",
        "provision",
        "worker",
        "snapshot",
        "migrate",
        "catch-up",
        "pace",
        "reconcile",
        "parity",
        "gate",
        "report",
        "monitor",
        "decommission",
        "reset-target",
        "rollback",
        "restore",
        "status",
        "list",
        "verify",
        "archive",
    }
)
# Commands whose first word is a snapshot, or a run, where it is not the newest one that they take.
_OF_SNAPSHOT = frozenset({"migrate", "verify"})
_OF_RUN = frozenset(
    {"reconcile", "gate", "report", "monitor", "decommission", "rollback", "status", "archive"}
)


# Commands that, without --vector-index, are about all of several vector indexes.
OF_ALL_INDEXES = frozenset({"init", "runbook", "worker", "archive", "status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What commands have to name, because they would take another one; None: they take it."""

    snapshot: str | None = None
    run: str | None = None
    index: str | None = None  # of several vector indexes

    def word(self, command: str) -> list[str]:
        """The argument of a command."""
        found = self.snapshot if command in _OF_SNAPSHOT else None
        found = self.run if command in _OF_RUN else found
        return [] if found is None else [found]


def advise(text: str, invocation: Invocation | None = None) -> str:
    """A text whose commands, in backquotes, name the folder and the flags of the running command.

    They also name the snapshot or the run that it was given. `invocation`: of a command that has
    ended. A command without a folder of snapshots, as
    `q2v rehearse`, gives the text as it is.
    """
    invocation = invocation or current_invocation()
    if invocation.snapshots is None:
        return text
    named = Named()
    if invocation.named is not None:
        # Here and not above: it imports this module.
        from q2v.output.following import named_beside  # noqa: PLC0415

        named = named_beside(invocation.named, invocation.snapshots)
    folder, settings = str(invocation.snapshots), invocation.settings
    return complete(text, folder, settings, invocation.config, named, invocation=invocation)


def complete(
    text: str,
    folder: str,
    settings: Settings | None,
    config: Path | None,
    named: Named,
    *,
    invocation: Invocation | None = None,
) -> str:
    """Add the options of `options_for`, and what has to be named, to each command in backquotes.

    `invocation`: of a command that has ended; None: the running one.
    Data may be in the text too: what only looks like a command is left as it stands.
    """

    def completed(found: re.Match[str]) -> str:
        try:
            words = shlex.split(found[1])
        except ValueError:  # a quote without its end
            return found[0]
        command = words[1] if len(words) > 1 else ""
        if command not in _WITH_FOLDER or "--help" in words:
            return found[0]
        is_named = len(words) > 2 and not words[2].startswith("-")  # noqa: PLR2004 - q2v COMMAND
        argument = [] if is_named else named.word(command)
        options = options_for(
            command,
            folder,
            settings,
            config,
            given=words,
            index=named.index,
            invocation=invocation,
        )
        return f"`{shlex.join([*words[:2], *argument, *words[2:], *options])}`"

    return _COMMAND.sub(completed, text)


def options_for(
    command: str,
    folder: str,
    settings: Settings | None,
    config: Path | None,
    *,
    given: Sequence[str] = (),
    index: str | None = None,
    invocation: Invocation | None = None,
) -> list[str]:
    """What this command was given, as far as the next one takes it: the same folder and target.

    Flags among the `given` words are left out. `settings` is None when they were refused. `index`:
    which of several vector indexes is meant; None: the one of this command, or else the first.
    `invocation`: of a command that has ended.
    """
    options: list[tuple[str, ...]] = [] if folder == str(DEFAULT_FOLDER) else [("--dir", folder)]
    invocation = invocation or current_invocation()
    local, budget = invocation.local, invocation.budget
    options += [] if local is None else [("--local", str(local))]
    if budget is not None and any(
        one.key == "limits.requests_per_5min" for one in taken_by(command)
    ):
        options.append(("--budget", str(budget)))
    options += [] if config is None else [("--config", str(config))]
    for setting in taken_by(command) if settings is not None else []:
        assert settings is not None
        if setting.key == "target.vector_index" and settings.target.shards:
            options += _name_index(command, settings, index)
        elif settings.is_typed(setting.key) and setting.flag is not None:
            value = settings.value(setting.key)
            options.append((setting.flag, *([] if value is True else [_as_typed(value)])))
        elif setting.key == "source.path":
            beside = lying_beside(setting.key, settings, config)
            options += [] if beside is None else [("--source-path", str(beside))]
    return [word for option in options if option[0] not in given for word in option]


def _name_index(command: str, settings: Settings, index: str | None) -> list[tuple[str, ...]]:
    """The flag that says which of several vector indexes, where the settings do not say it."""
    configured = settings.target.vector_index
    is_meant = index is not None and (command not in OF_ALL_INDEXES or command == "status")
    wanted = index if is_meant else configured
    if wanted is None and command not in OF_ALL_INDEXES:
        wanted = settings.target.shards[0]
    is_said = wanted == configured and not settings.is_typed("target.vector_index")
    return [] if wanted is None or is_said else [("--vector-index", wanted)]


def _as_typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')
