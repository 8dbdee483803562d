"""Resolve the settings: flag over environment over file over default."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from migrate.errors import UsageError
from q2v.agreement import check_agreement
from q2v.commands.secret import SecretPlace
from q2v.config_file import ConfigFile, read_config
from q2v.declaration import IllFormedError, Setting, as_path, check_value, found, read_text
from q2v.output.logs import PROCESS_MASKER
from q2v.settings import BY_KEY, SECTIONS, SETTINGS, Layer, Origin, Settings, show_value

_ENVIRONMENT_PREFIX = "Q2V_"
_MASKED_LENGTH_MIN = 8  # a shorter text is found in ordinary words


def load_settings(
    *, config: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> Settings:
    """Resolve every setting; no secret is read, only found.

    `config` is a file that must exist, None for none (`find_config` knows the usual one).
    `flags` maps dotted names to what was typed, None for a flag that was not. An empty
    environment variable counts as not set. Raises UsageError for anything that does not fit,
    also where a higher layer would have hidden it.
    """
    _mask_environment(environment)
    file = read_config(config)
    _check_keys(file)
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for setting in SETTINGS:
        for origin, value in _candidates(setting, file, environment, flags):
            values[setting.key], origins[setting.key] = value, origin
    _choose_source(values, origins)
    sections: dict[str, Any] = {
        name: kind(**_of_section(name, values)) for name, kind in SECTIONS.items()
    }
    settings = Settings(**sections, origins=origins)
    check_agreement(settings)
    return settings


def _mask_environment(environment: Mapping[str, str]) -> None:
    """A secret that was also pasted into another setting is not shown when that is refused."""
    for setting in SETTINGS:
        value = environment.get(setting.environment or "", "").strip()
        if setting.is_secret and len(value) >= _MASKED_LENGTH_MIN:
            PROCESS_MASKER.register(value)


def _of_section(section: str, values: Mapping[str, object]) -> dict[str, object]:
    return {
        BY_KEY[key].name: value for key, value in values.items() if BY_KEY[key].section == section
    }


def _candidates(
    setting: Setting,
    file: ConfigFile,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
) -> Iterator[tuple[Origin, object]]:
    """The values somebody gave, weakest first."""
    if setting.is_secret:
        yield from _secret_candidates(setting, file, environment)
        return
    if setting.key in file.values:
        origin = Origin(Layer.FILE, file.name)
        yield origin, _checked(setting, file.values[setting.key], origin)
    name = setting.environment
    if name is not None and environment.get(name):
        origin = Origin(Layer.ENVIRONMENT, f"environment {name}")
        yield origin, _checked(setting, read_text(setting, environment[name]), origin)
    typed = flags.get(setting.key)
    if typed is not None:
        origin = Origin(Layer.FLAG, f"flag {setting.flag}")
        value = read_text(setting, typed) if isinstance(typed, str) else typed
        yield origin, _checked(setting, value, origin)


def _secret_candidates(
    setting: Setting, file: ConfigFile, environment: Mapping[str, str]
) -> Iterator[tuple[Origin, object]]:
    file_key = f"{setting.key}_file"
    if file_key in file.values:
        path = file.values[file_key]
        origin = Origin(Layer.FILE, file.name)
        if not isinstance(path, str) or not path:
            raise _refused(setting, path, origin)
        place = str(as_path(path))
        yield (
            origin,
            SecretPlace(
                key=setting.key, kind="file", place=place, named_by=f"{file_key} in {file.name}"
            ),
        )
    name = setting.environment
    name_file = f"{name}_FILE"
    assert name is not None
    given = [each for each in (name, name_file) if environment.get(each)]
    if len(given) > 1:
        raise UsageError(
            f"{setting.key}: found both {name} and {name_file} in the environment, expected one",
            remedy=f"unset {name}, and keep the secret in the file",
        )
    for each in given:
        kind, place = ("environment", each) if each == name else ("file", environment[each])
        origin = Origin(Layer.ENVIRONMENT, f"environment {each}")
        yield (
            origin,
            SecretPlace(
                key=setting.key,
                kind="environment" if kind == "environment" else "file",
                place=place if kind == "environment" else str(as_path(place)),
                named_by=f"environment {each}",
            ),
        )


def _checked(setting: Setting, value: object, origin: Origin) -> object:
    try:
        return check_value(setting, value)
    except IllFormedError as error:
        raise _refused(setting, value, origin) from error


def _refused(setting: Setting, value: object, origin: Origin) -> UsageError:
    without = show_value(setting, setting.default)
    where = {
        Layer.FILE: f"correct it in {origin}, or remove it there",
        Layer.ENVIRONMENT: f"correct {setting.environment}, or unset it",
        Layer.FLAG: f"correct {setting.flag}, or leave it out",
    }
    return UsageError(
        f"{setting.key} from {origin}: found {found(setting, value)}, expected {setting.expected}",
        remedy=f"{where[origin.layer]} (default: {without})",
    )


def _check_keys(file: ConfigFile) -> None:
    """Every key of the file is a setting that may stand there."""
    known = [f"{s.key}_file" if s.is_secret else s.key for s in SETTINGS]
    for key in file.values:
        setting = BY_KEY.get(key)
        if setting is not None and setting.is_secret:
            raise UsageError(
                f"{key} from {file.name}: found a secret in the file, expected none",
                remedy=f"remove it there, replace the secret if the file has been shared, and set "
                f"{setting.environment}, or {key}_file = the path of a file of mode 0600",
            )
        if setting is not None and setting.declaration.flag_only:
            raise UsageError(
                f"{key} from {file.name}: found it in the file, expected it only as a flag",
                remedy=f"remove it there, and pass {setting.flag} when you mean it",
            )
        if key not in known:
            nearest = get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise UsageError(
                f"{file.name}: found the unknown key {key}, expected a known one; "
                f"the nearest is {nearest}",
                remedy=f"rename it to {nearest}, or remove it",
            )


def _choose_source(values: dict[str, object], origins: dict[str, Origin]) -> None:
    """A server or a folder: the one from the higher layer counts."""
    if "source.url" not in values or "source.path" not in values:
        return
    url, path = origins["source.url"], origins["source.path"]
    if url.layer == path.layer:
        raise UsageError(
            f"found both source.url (from {url}) and source.path (from {path}), expected one",
            remedy="remove one: url is a server, path the folder of an embedded store",
        )
    loser, winner = ("source.url", path) if url.layer < path.layer else ("source.path", url)
    values[loser] = None
    origins[loser] = Origin(winner.layer, f"set aside by {winner}")


def unknown_environment(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Variables that look like ours but are read by nobody, each with the nearest that is."""
    known = [setting.environment for setting in SETTINGS if setting.environment is not None]
    return tuple(
        (name, get_close_matches(name, known, n=1, cutoff=0.0)[0])
        for name in sorted(environment)
        if name.startswith(_ENVIRONMENT_PREFIX) and name not in known
    )
