"""The commands of wrangler around a new release of the Worker, as lists of arguments.

They are run in the Worker's folder, where wrangler finds the Worker's name.
"""

from collections.abc import Iterable

Command = tuple[str, ...]
# What the Worker needs for Qdrant, and no more after the move.
OLD_SECRETS = ("QDRANT_API_KEY", "QDRANT_URL")
VERSION = "VERSION"  # stands for the id of a version, in a command that is to be completed


def secret_commands(names: Iterable[str], *, env: str | None) -> tuple[Command, ...]:
    """Give each secret to the Worker: the value is asked for, or read from a pipe.

    Each makes a version of the Worker and deploys it.
    """
    return tuple(("wrangler", "secret", "put", name, *_of(env)) for name in names)


def secret_delete_commands(names: Iterable[str], *, env: str | None) -> tuple[Command, ...]:
    """Remove each secret, when no version that may be rolled back to needs it."""
    return tuple(("wrangler", "secret", "delete", name, *_of(env)) for name in names)


def release_commands(*, env: str | None) -> tuple[Command, ...]:
    """Before a release: show what is deployed now; note the version's id."""
    return (
        ("wrangler", "deployments", "list", *_of(env)),
        ("wrangler", "versions", "list", *_of(env)),
    )


def back_commands(
    *,
    env: str | None,
    version: str | None = None,
    message: str = "q2v: back to an earlier version",
) -> tuple[Command, ...]:
    """After a release: deploy this version again; None: one that the operator puts in.

    Without an id wrangler deploys the version before the newest, and each secret makes a version.
    It does not change KV or Vectorize.
    """
    wanted = version or VERSION
    return (("wrangler", "rollback", wanted, f"--message={message}", "--yes", *_of(env)),)


def _of(env: str | None) -> Command:
    return () if env is None else (f"--env={env}",)
