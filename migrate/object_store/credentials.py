"""Credentials and region of an object store from the usual AWS files.

The AWS variables, and the credentials that a machine of the cloud has, are read by obstore. A
profile of the files is used when no variable names a key, as other tools do.
"""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from migrate.errors import LocalStorageError, UsageError
from migrate.storage.disk import disk

STORE_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")  # variables
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_REMEDY = "set AWS_PROFILE to a profile of the file, or set AWS_ACCESS_KEY_ID and its secret"


def find_options(
    endpoint: str | None, region: str | None, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What the store has to be told: endpoint and region, and the keys of a profile.

    An address wins over a variable, a variable over a file. What nothing names is left out: obstore
    has defaults. Raises UsageError for a profile or file that is named and not there,
    LocalStorageError for a file that cannot be read.
    """
    found = _read_profile(environment)
    for option, typed, names in (
        ("endpoint", endpoint, _ENDPOINTS),
        ("region", region, _REGIONS),
    ):
        value = typed or next(filter(None, map(environment.get, names)), None)
        if value is not None:
            found[option] = value
    return found


def _read_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Options out of ~/.aws/credentials and ~/.aws/config; empty without files.

    AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name other files, AWS_PROFILE another profile.
    """
    found: dict[str, str] = {}
    profile = environment.get("AWS_PROFILE") or "default"
    named = "AWS_PROFILE" in environment
    if not environment.get("AWS_ACCESS_KEY_ID"):
        file, is_named = _path(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
        section = _section(file, profile, must_exist=is_named)
        found.update({key: section[key] for key in _KEYS if section.get(key)})
    file, _ = _path(environment, "AWS_CONFIG_FILE", "config")
    title = profile if profile == "default" else f"profile {profile}"
    section = _section(file, title, must_exist=False)
    for option, name in (("region", "region"), ("endpoint", "endpoint_url")):
        if section.get(name):
            found[option] = section[name]
    if named and not found and not environment.get("AWS_ACCESS_KEY_ID"):
        raise UsageError(f"found no profile '{profile}' in the AWS files", remedy=_REMEDY)
    return found


def _path(environment: Mapping[str, str], variable: str, name: str) -> tuple[Path, bool]:
    """The file, and whether a variable names it."""
    typed = environment.get(variable)
    return (Path(typed), True) if typed else (Path.home() / ".aws" / name, False)


def _section(path: Path, title: str, *, must_exist: bool) -> Mapping[str, str]:
    if not disk().exists(path):
        if must_exist:
            raise UsageError(f"there is no AWS file {path}", remedy=_REMEDY)
        return {}
    parser = configparser.RawConfigParser()
    try:
        with disk().open_to_read(path, follow_links=True) as file:
            parser.read_string(file.read().decode("utf-8", "replace"))
    except OSError as error:
        raise LocalStorageError(
            f"reading {path}: {error.strerror or error}", remedy="make the file readable"
        ) from error
    except configparser.Error:  # its text may quote a line with a key
        raise UsageError(
            f"{path} is no AWS file: a line is not understood", remedy=_REMEDY
        ) from None
    return parser[title] if parser.has_section(title) else {}
