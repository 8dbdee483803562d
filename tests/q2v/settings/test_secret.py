"""Secrets: found without being read, read only from safe places, never shown."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest

from migrate.errors import UsageError
from q2v.output.configured import shown_settings
from q2v.output.logs import Masker
from q2v.secret_files import SECRET_BYTES_MAX, Secret, SecretPlace, load_secret
from q2v.settings import Settings
from tests.q2v.settings.layers import load, load_settings, refusal, write_config

TOKEN = "tok-0123456789-hunter2"


def secret_file(tmp_path: Path, content: bytes = TOKEN.encode(), mode: int = 0o600) -> Path:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def place_of(path: Path) -> SecretPlace:
    settings = load_settings(
        config=None, environment={"CLOUDFLARE_API_TOKEN_FILE": str(path)}, flags={}
    )
    assert settings.target.api_token is not None
    return settings.target.api_token


def shown(settings: Settings) -> str:
    """Everything a command could print of its settings."""
    rows = shown_settings(settings)
    return f"{settings!r} {settings} {rows!r} {json.dumps(rows)}"


@pytest.mark.fault("X01")
def test_a_secret_from_the_environment_is_found_then_read_and_masked() -> None:
    environment = {"QDRANT_API_KEY": TOKEN}
    settings = load_settings(config=None, environment=environment, flags={})
    place = settings.source.api_key
    assert place is not None
    masker = Masker()

    secret = load_secret(place, environment=environment, masker=masker)

    assert secret.reveal() == TOKEN
    assert TOKEN not in shown(settings)
    assert "set (from environment QDRANT_API_KEY)" in shown(settings)
    assert masker.mask(f"Bearer {TOKEN}") == "Bearer ***"


@pytest.mark.fault("X08")
def test_loading_the_settings_reads_no_secret(tmp_path: Path) -> None:
    """The guard of the address runs in between: a refused host never costs the token."""
    place = place_of(tmp_path / "not there yet")
    secret_file(tmp_path).rename(tmp_path / "not there yet")

    assert load_secret(place, environment={}, masker=Masker()).reveal() == TOKEN


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_this_user_only_with_one_line_is_read(
    tmp_path: Path, end: bytes, mode: int
) -> None:
    path = secret_file(tmp_path, TOKEN.encode() + end, mode)

    assert load_secret(place_of(path), environment={}, masker=Masker()).reveal() == TOKEN


@pytest.mark.fault("X01")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError) as error:
        load_secret(place_of(secret_file(tmp_path, mode=mode)), environment={}, masker=Masker())

    text = refusal(error)
    assert f"its mode is {mode:04o}" in text
    assert "chmod 600" in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (TOKEN.encode() + b"\nsecond", "more than one line"),
        (TOKEN.encode() + b" ", "white space"),
        (TOKEN.encode() + b"\xff", "beyond ASCII"),
        (TOKEN.encode() * SECRET_BYTES_MAX, "larger than"),
    ],
)
def test_a_file_that_is_not_one_word_is_refused_unseen(
    tmp_path: Path, content: bytes, finding: str
) -> None:
    with pytest.raises(UsageError) as error:
        load_secret(place_of(secret_file(tmp_path, content)), environment={}, masker=Masker())

    text = refusal(error)
    assert finding in text
    assert TOKEN not in text


def test_a_link_a_pipe_a_folder_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(secret_file(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o600)
    findings = {
        "link": "it is a link",
        "pipe": "not a regular file",
        "folder": "not a regular file",
        "missing": "No such file",
    }
    for name, finding in findings.items():
        with pytest.raises(UsageError) as error:
            load_secret(place_of(tmp_path / name), environment={}, masker=Masker())

        assert finding in refusal(error)


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    both = {"CLOUDFLARE_API_TOKEN": TOKEN, "CLOUDFLARE_API_TOKEN_FILE": "file"}
    with pytest.raises(UsageError) as error:
        load(tmp_path, environment=both)

    assert "both CLOUDFLARE_API_TOKEN and CLOUDFLARE_API_TOKEN_FILE" in refusal(error)
    assert TOKEN not in refusal(error)


@pytest.mark.fault("X01")
@pytest.mark.parametrize("key", ["source.api_key", "target.api_token"])
def test_a_secret_in_the_settings_file_is_refused_unseen(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {key: TOKEN})

    text = refusal(error)
    assert TOKEN not in text
    assert f"{key}_file" in text


def test_the_settings_file_may_name_the_secrets_file_and_the_environment_wins(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, {"target.api_token_file": str(secret_file(tmp_path))})
    by_file = load_settings(config=config, environment={}, flags={})
    by_environment = load_settings(
        config=config, environment={"CLOUDFLARE_API_TOKEN": "other"}, flags={}
    )

    assert by_file.target.api_token is not None
    assert load_secret(by_file.target.api_token, masker=Masker()).reveal() == TOKEN
    assert "set (from the file named by target.api_token_file" in shown(by_file)
    assert by_environment.target.api_token is not None
    assert by_environment.target.api_token.kind == "environment"


def test_the_name_of_a_secrets_file_has_to_be_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {"target.api_token_file": 7})

    assert "the path of a file" in refusal(error)


def test_no_ordinary_way_of_showing_or_copying_a_secret_works() -> None:
    secret = Secret(TOKEN)
    assert TOKEN not in f"{secret} {secret!r} {secret:>80} {[secret]} {secret!s}"
    for spread in (copy.copy, copy.deepcopy, pickle.dumps, json.dumps, vars):
        with pytest.raises(TypeError):
            spread(secret)
    assert secret == Secret(TOKEN)
    assert secret != Secret("other")
    assert secret != TOKEN
