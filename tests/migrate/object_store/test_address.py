"""Which addresses of an object store are accepted, and what is found in the AWS files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import LocalStorageError, UsageError
from migrate.object_store.address import (
    Bucket,
    ObjectAddress,
    is_object_address,
    parse_object_address,
)
from migrate.object_store.credentials import find_options

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
keys = st.lists(st.from_regex(r"[a-zA-Z0-9_=+é-]{1,9}", fullmatch=True), max_size=4).map("/".join)
endpoints = st.sampled_from(
    [None, "https://account.r2.cloudflarestorage.com", "http://127.0.0.1:9000", "http://localhost"]
)


@given(names, keys, endpoints, st.sampled_from([None, "auto", "eu-central-1"]))
def test_an_address_is_read_back_as_it_is_shown(
    bucket: str, key: str, endpoint: str | None, region: str | None
) -> None:
    address = ObjectAddress(Bucket(bucket, endpoint, region), key)

    assert parse_object_address(str(address)) == address
    assert parse_object_address(Path(str(address))) == address, "as click makes a path of it"
    assert is_object_address(Path(str(address)))
    assert address.child("a").parent == address
    assert str(address.child("a")).startswith(f"s3://{bucket}/")


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///key",
        "s3://Bucket/key",
        "s3://name:password@bucket/key",
        "s3://bucket:9000/key",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "s3://bucket/.",
        "s3://bucket/key#part",
        "s3://bucket/key?endpoint",
        "s3://bucket/key?endpoint=",
        "s3://bucket/key?endpoint=ftp://host",
        "s3://bucket/key?endpoint=https://",
        "s3://bucket/key?endpoint=https://name:password@host",
        "s3://bucket/key?endpoint=https://host:99999999",
        "s3://bucket/key?endpoint=http://10.0.0.1",
        "s3://bucket/key?endpoint=http://example.com",
        "s3://bucket/key?other=1",
    ],
)
def test_an_address_that_cannot_be_opened_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_object_address(text)

    assert "s3://BUCKET/PREFIX" in caught.value.remedy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
        "[team]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n"
    )
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile team]\nendpoint_url = https://host\n"
    )
    return tmp_path


def test_a_profile_of_the_files_is_found(home: Path) -> None:
    assert find_options(None, None, {}) == {
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
        "region": "eu-west-1",
    }
    assert find_options(None, None, {"AWS_PROFILE": "team"}) == {
        "aws_access_key_id": "c",
        "aws_secret_access_key": "d",
        "aws_session_token": "e",
        "endpoint": "https://host",
    }


def test_an_address_wins_over_a_variable_and_a_variable_over_a_file(home: Path) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_REGION": "here", "AWS_ENDPOINT_URL": "https://v"}

    assert find_options(None, None, environment) == {"region": "here", "endpoint": "https://v"}
    assert find_options("https://typed", "there", environment) == {
        "region": "there",
        "endpoint": "https://typed",
    }


def test_without_files_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)

    assert find_options(None, None, {}) == {}


@pytest.mark.parametrize(
    "environment",
    [{"AWS_PROFILE": "absent"}, {"AWS_SHARED_CREDENTIALS_FILE": "/no/such/file"}],
)
def test_what_is_named_and_not_there_is_an_error(home: Path, environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"absent|/no/such/file"):
        find_options(None, None, environment)


def test_a_damaged_file_is_named_and_no_line_of_it_is_shown(home: Path) -> None:
    (home / ".aws" / "credentials").write_text("[default]\nsecret-line-without-an-equals-sign\n")

    with pytest.raises(UsageError) as caught:
        find_options(None, None, {})
    assert "credentials" in str(caught.value)
    assert "secret-line" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_named(home: Path) -> None:
    (home / ".aws" / "credentials").unlink()
    (home / ".aws" / "credentials").mkdir()

    with pytest.raises(LocalStorageError, match="credentials"):
        find_options(None, None, {})
