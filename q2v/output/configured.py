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


_NOT_FOUND = re.compile("does not exist|No such file or directory")
_NEAR = 0.8  # of difflib, for a whole name: a name without its API_ is near
_SAME_WORD = 0.66  # of difflib, for one word: URI is near URL, PORT is not near PATH
_EMPTY_WORD = "NAME"  # says nothing: QDRANT_COLLECTION_NAME


def unknown_environment() -> list[tuple[str, str | None]]:
    """Variables that set nothing and look as if they should, each with the name that was meant.

    They begin with Q2V_, or are nearly the name of a setting that is not set. None where no
    setting is near. Never the value: it may be a secret.
    """
    spelled = _spellings()
    known = set(spelled.values())
    found = []
    for name in sorted(os.environ):
        if name[:1] not in "CQcq" or name in known:
            continue
        meant = _meant(name.upper(), spelled)
        if name.startswith("Q2V_") or (meant is not None and not _is_set(meant)):
            found.append((name, meant))
    return found


def _spellings() -> dict[str, str]:
    """The variable of each setting, by its own name and by those it would have without that.

    These are made of Q2V_, with section and name or the name alone: by both it is found that
    api_token of target has CLOUDFLARE_API_TOKEN.
    """
    spelled = {BUDGET_ENVIRONMENT: BUDGET_ENVIRONMENT}
    for setting in SETTINGS:
        if setting.environment is None:
            continue
        section, _, bare = setting.key.upper().partition(".")
        for name in (f"Q2V_{bare}", f"Q2V_{section}_{bare}", setting.environment):
            spelled[name] = setting.environment
            if setting.is_secret:
                spelled[f"{name}_FILE"] = f"{setting.environment}_FILE"
    return spelled


def _meant(name: str, spelled: dict[str, str]) -> str | None:
    """The variable that a name most likely means; None where none is near, or several are."""
    if name in spelled:
        return spelled[name]
    near = [
        spelling
        for spelling in get_close_matches(name, spelled, n=len(spelled), cutoff=_NEAR)
        if _has_words(spelling, name)
    ]
    whole = [spelling for spelling in near if _has_words(name, spelling)]
    if whole:
        return spelled[whole[0]]
    meant = {spelled[spelling] for spelling in near}  # a word is left out
    return meant.pop() if len(meant) == 1 else None


def _has_words(name: str, of: str) -> bool:
    """Whether a name has each word of another, perhaps misspelt or without an underscore.

    A name with a word more is of something else, as the token of R2 of another program.
    """
    joined, words = name.replace("_", ""), name.split("_")
    return all(
        word == _EMPTY_WORD or word in joined or get_close_matches(word, words, 1, _SAME_WORD)
        for word in of.split("_")
    )


def _is_set(name: str) -> bool:
    return not os.environ.keys().isdisjoint({name, f"{name}_FILE", name.removesuffix("_FILE")})


def environment_warnings() -> list[str]:
    """The same in words."""
    return [
        f"unknown environment variable {name} ignored; "
        + ("no setting is read from it" if meant is None else f"did you mean {meant}?")
        for name, meant in unknown_environment()
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
