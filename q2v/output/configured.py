"""The settings as `plan` shows them, and variables of the environment that set nothing."""

import os
from difflib import get_close_matches
from pathlib import Path

from q2v.invocation import BUDGET_ENVIRONMENT
from q2v.secret_files import SecretPlace
from q2v.settings import SETTINGS, Settings


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
