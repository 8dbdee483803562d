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


def unknown_environment() -> list[tuple[str, str]]:
    """Variables that begin with Q2V_ and set nothing, each with the nearest name that does."""
    known = [setting.environment for setting in SETTINGS if setting.environment is not None]
    known += [f"{setting.environment}_FILE" for setting in SETTINGS if setting.is_secret]
    known.append(BUDGET_ENVIRONMENT)
    return [
        (name, get_close_matches(name, known, n=1, cutoff=0.0)[0])
        for name in sorted(os.environ)
        if name.startswith("Q2V_") and name not in known
    ]
