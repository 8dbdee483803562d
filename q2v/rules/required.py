"""Settings that a command cannot do without, and flags that would do nothing."""

from collections.abc import Iterable

from migrate.errors import UsageError
from migrate.words import counted
from q2v.settings import BY_KEY, Setting, Settings

ASK_FOR_NAMES = "`q2v init` on a terminal asks for the names and writes migration.toml"


def check_required(settings: Settings, *keys: str) -> None:
    """Raises UsageError naming every one of these settings that is not set.

    For "source.url" a `source.path` will do, and for "source.path" a `source.url`.
    """
    missing = missing_settings(settings, *keys)
    if "target.vector_index" in [each.key for each in missing] and settings.target.shards:
        indexes = settings.target.shards
        raise UsageError(
            f"found {counted(len(indexes), 'vector index')} in target.shards "
            f"({', '.join(indexes)}), expected to be told which one",
            remedy=f"name one of them, as --vector-index {indexes[0]}; each has a run of its "
            "own; a fleet does every step for each of them (docs/fleet.md)",
        )
    if missing:
        raise UsageError(
            f"found no value for {', '.join(each.key for each in missing)}, expected each to be "
            "configured",
            remedy=f"set {'; '.join(map(ways_to_set, missing))}; {ASK_FOR_NAMES}",
        )


def missing_settings(settings: Settings, *keys: str) -> list[Setting]:
    """Those of these settings that are not set, as `check_required` judges it."""
    either = {"source.url": "source.path", "source.path": "source.url"}
    return [
        BY_KEY[key]
        for key in keys
        if settings.value(key) is None and settings.value(either.get(key, key)) is None
    ]


def check_both(settings: Settings, first: str, second: str) -> None:
    """Raises UsageError when only one of two settings has a value: neither works alone."""
    lacking = [key for key in (first, second) if settings.value(key) is None]
    if len(lacking) == 1:
        given = second if lacking == [first] else first
        raise UsageError(
            f"found {given} (from {settings.origin(given)}) without {lacking[0]}, expected both or "
            "neither",
            remedy=f"set {BY_KEY[lacking[0]].ways()}, or remove {given}",
        )


def ways_to_set(setting: Setting) -> str:
    """Every way to give a value; for a server also the setting that names a folder instead."""
    return setting.ways() + (" or source.path" if setting.key == "source.url" else "")


def refuse_flags(settings: Settings, keys: Iterable[str], *, why: str) -> None:
    """Raises UsageError when one of these settings was given by its flag: it would do nothing.

    From the environment or the file it is ignored: one migration has one file.
    """
    typed = [BY_KEY[key].flag for key in keys if settings.is_typed(key)]
    if typed:
        raise UsageError(
            f"{', '.join(map(str, typed))}: this has no effect {why}",
            remedy="leave it out",
        )
