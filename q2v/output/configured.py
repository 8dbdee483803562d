"""The settings as `plan` shows them; variables that set nothing, and paths that lead nowhere."""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from migrate.storage.disk import disk
from q2v.invocation import BUDGET_ENVIRONMENT
from q2v.secret_files import SecretPlace
from q2v.settings import BY_KEY, SETTINGS, Settings


def shown_settings(settings: Settings) -> list[dict[str, object]]:
    """Every setting as `plan` shows it, ready for JSON; of a secret only the place."""
    rows = []
    for setting in SETTINGS:
        value = settings.value(setting.key)
        native = str(value) if isinstance(value, SecretPlace | Path) else value
        shown, origin = setting.show(value), settings.origin(setting.key)
        rows.append({"key": setting.key, "value": native, "shown": shown, "origin": origin})
    return rows


# What follows the first underscore in names as near to a setting as a misspelt one, which other
# programs read: wrangler, lego, clients of databases.
_OF_OTHERS = {
    "CLOUDFLARE": {"API_KEY", "D1_TOKEN", "DNS_API_TOKEN", "R2_ACCOUNT_ID", "ZONE_API_TOKEN"},
    "QDRANT": {"DB_PATH"},
}
_NOT_FOUND = re.compile("does not exist|No such file or directory")
_NEAR = 0.83  # of difflib: a name without its API_ is near, PORT in place of PATH is not


def unknown_environment() -> list[tuple[str, str]]:
    """Variables that set nothing and look as if they should, each with the nearest name that does.

    They begin with Q2V_, or are nearly the name of a setting that is not set. Never the value: it
    may be a secret.
    """
    known = [setting.environment for setting in SETTINGS if setting.environment is not None]
    known += [f"{setting.environment}_FILE" for setting in SETTINGS if setting.is_secret]
    known.append(BUDGET_ENVIRONMENT)
    found = {
        name: _nearest(name, known)
        for name in sorted(os.environ)
        if name[:1] in "CQcq" and name not in known
    }
    return [(name, nearest) for name, nearest in found.items() if nearest is not None]


def _nearest(name: str, known: list[str]) -> str | None:
    if name.startswith("Q2V_"):
        return get_close_matches(name, known, n=1, cutoff=0.0)[0]
    near = get_close_matches(name.upper(), known, n=1, cutoff=_NEAR)
    service, _, rest = name.partition("_")
    if not near or rest in _OF_OTHERS.get(service, ()):
        return None
    nearest = near[0]
    is_set = {nearest, f"{nearest}_FILE", nearest.removesuffix("_FILE")} & os.environ.keys()
    return None if is_set else nearest


def environment_warnings() -> list[str]:
    """The same in words."""
    return [
        f"unknown environment variable {name} ignored; did you mean {nearest}?"
        for name, nearest in unknown_environment()
    ]


def lying_beside(key: str, settings: Settings, config: Path | None) -> Path | None:
    """Where a path of the settings file is found, if that is beside the file and not here.

    Paths count from the current folder, also those of a settings file in another one. None for a
    path that is given otherwise, is whole, or is found from the current folder.
    """
    value = settings.value(key)
    if isinstance(value, SecretPlace):
        named_by = f"{BY_KEY[key].file_key} in {config}"
        path = Path(value.place) if value.named_by == named_by else None
    else:
        is_of_file = settings.origin(key) == str(config)
        path = value if isinstance(value, Path) and is_of_file else None
    if config is None or path is None or path.is_absolute() or disk().exists(path):
        return None
    found = config.parent / path
    return found if disk().exists(found) else None


def hint_about(what: str, settings: Settings | None, config: Path | None) -> str:
    """A sentence about the first such path that a message has not found; "" where there is none."""
    if settings is None or config is None or not _NOT_FOUND.search(what):
        return ""
    for setting in SETTINGS:
        found = lying_beside(setting.key, settings, config)
        if found is None:
            continue
        typed = re.escape(str(found.relative_to(config.parent)))
        if re.search(rf"(?<![\w./-]){typed}(?![\w./-])", what):
            return (
                f"{setting.file_key} counts from the current folder, not from that of {config}: "
                f"write {found.absolute()} there, or run the command in {config.parent}"
            )
    return ""
