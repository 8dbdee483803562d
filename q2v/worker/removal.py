"""The steps that take the verifier away after the window, with the names of this migration."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import PreconditionError
from migrate.storage.durable import is_file
from q2v.secret_files import SecretPlace

CONFIGURATION = "verifier.wrangler.jsonc"


@dataclass(frozen=True, slots=True)
class RemovalStep:
    """One step: what it is for, and the line for a shell; None: a file is edited by hand."""

    what: str
    command: str | None


def removal_steps(
    project: Path, url: str | None, key: SecretPlace | None
) -> tuple[RemovalStep, ...]:
    """Every step, in order. Raises PreconditionError for a folder without the configuration."""
    if not is_file(project / CONFIGURATION):
        raise PreconditionError(
            f"{project} holds no {CONFIGURATION}",
            remedy="name the folder from which the verifier was deployed; without it, run "
            "`wrangler delete --name=q2v-verifier` anywhere",
        )
    within = f"cd {shlex.quote(str(project))}"
    named = "it" if url is None else f"the verifier at {url}"
    steps = [
        RemovalStep(
            f"delete {named}, and its secret with it",
            f"{within} && wrangler delete --config={CONFIGURATION}",
        ),
        RemovalStep(
            "see that it is gone: this ends with an error",
            f"{within} && wrangler deployments list --config={CONFIGURATION}",
        ),
        *_of_key(key),
    ]
    if url is not None:
        steps.append(
            RemovalStep("remove target.verifier_url from where it is set (see `q2v plan`)", None)
        )
    return tuple(steps)


def _of_key(key: SecretPlace | None) -> tuple[RemovalStep, ...]:
    match key:
        case None:
            return (RemovalStep("delete every copy of the key; none is configured here", None),)
        case SecretPlace(kind="environment"):
            return (RemovalStep("forget the key", f"unset {key.place}"),)
        case _:
            return (RemovalStep("delete the key", f"rm -- {shlex.quote(key.place)}"),)
