"""A seal with a key: who has not got the key writes nothing that passes."""

import hmac
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError, ExitCode
from migrate.model.canonical import encode_canonical_json
from migrate.model.hmac_key import KEY_LENGTH_MIN, SealKey
from migrate.model.sealed_json import seal_json, unseal_json
from migrate.plan.record import decode_plan, encode_plan
from migrate.snapshot.manifest import decode_manifest, encode_manifest
from tests.harness.strategies import json_objects
from tests.migrate.model.records import MANIFEST, PLAN

pytestmark = pytest.mark.fault("X09")

TEXT = "0123456789abcdef" * 4
KEY = SealKey(TEXT)
OTHER = SealKey("f" * 64)


def unseal(content: bytes, key: SealKey | None = KEY) -> dict[str, object]:
    return unseal_json(content, where="m.json", format_version=1, key=key)


@given(json_objects())
def test_fields_sealed_with_a_key_come_back(fields: dict[str, object]) -> None:
    fields = {name: value for name, value in fields.items() if name not in {"sha256", "hmac"}}
    fields["format"] = 1
    content = seal_json(fields, KEY)

    assert encode_canonical_json(fields) == encode_canonical_json(unseal(content))
    assert encode_canonical_json(fields) == encode_canonical_json(unseal(content, None))


def test_manifest_and_plan_come_back() -> None:
    assert decode_manifest(encode_manifest(MANIFEST, KEY), where="m", key=KEY) == MANIFEST
    assert decode_plan(encode_plan(PLAN, KEY), where="p", key=KEY) == PLAN


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (encode_manifest(MANIFEST), "carries no HMAC"),
        (encode_manifest(MANIFEST, OTHER), "not that of the configured key"),
    ],
)
def test_a_missing_or_foreign_hmac_is_damage(content: bytes, found: str) -> None:
    with pytest.raises(ArtefactDamagedError, match=found) as caught:
        decode_manifest(content, where="m.json", key=KEY)
    assert caught.value.exit_code == ExitCode.DAMAGED
    assert "snapshot.hmac_key" in str(caught.value)


@pytest.mark.parametrize("code", [None, 5, "", "é", "\ud800", [], "0" * 64, "0" * 65])
def test_whatever_stands_in_place_of_the_hmac_is_damage(code: object) -> None:
    """The digest is right: whoever wrote it can compute digests, but has no key."""
    with pytest.raises(ArtefactDamagedError, match="HMAC"):
        unseal(seal_json({"format": 1, "points": 3, "hmac": code}))


def rewritten(change: dict[str, object]) -> bytes:
    """A manifest sealed with the key, changed, and given a right digest again without the key."""
    fields = unseal_json(encode_manifest(MANIFEST, KEY), where="m", format_version=1)
    code = KEY.code(encode_canonical_json(fields))
    return seal_json({**fields, **change, "hmac": code})


PARTS = unseal(encode_manifest(MANIFEST), None)["parts"]
assert isinstance(PARTS, list)


@pytest.mark.parametrize(
    "change",
    [
        {"parts": PARTS[::-1]},
        {"parts": PARTS[:1]},
        {"parts": [PARTS[0], *PARTS]},
        {"parts": [{**PARTS[0], "sha256": "0" * 64}, *PARTS[1:]]},
        {"snapshot_id": "another"},
        {"sealed_at": "2027-01-01T00:00:00+00:00"},
        {"source": {}},
    ],
    ids=["reordered", "dropped", "duplicated", "edited", "renamed", "dated", "relocated"],
)
def test_whoever_edits_a_manifest_and_mends_its_digest_is_found_out(
    change: dict[str, object],
) -> None:
    content = rewritten(change)
    unseal(content, None)  # without the key nothing would be seen

    with pytest.raises(ArtefactDamagedError, match="not that of the configured key"):
        unseal(content)


@given(st.data())
def test_any_edit_of_any_field_is_found_out(data: st.DataObject) -> None:
    fields = unseal_json(encode_manifest(MANIFEST, KEY), where="m", format_version=1)
    name = data.draw(st.sampled_from(sorted(set(fields) - {"format"})))
    value = data.draw(st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5))
    if fields[name] == value:
        return
    with pytest.raises(ArtefactDamagedError, match="not that of the configured key"):
        unseal(rewritten({name: value}))


def test_the_hmac_of_one_file_does_not_fit_another() -> None:
    """A replay: an older manifest's code around newer content, or a plan's around a manifest."""
    older = replace(MANIFEST, snapshot_id="older")
    for other in (code_of(encode_manifest(older, KEY)), code_of(encode_plan(PLAN, KEY))):
        fields = unseal(encode_manifest(MANIFEST), None)
        with pytest.raises(ArtefactDamagedError, match="not that of the configured key"):
            unseal(seal_json({**fields, "hmac": other}))


def code_of(content: bytes) -> object:
    return content.partition(b'"hmac":"')[2][:64].decode()


def test_the_key_decides_the_code_and_nothing_else_does() -> None:
    assert encode_manifest(MANIFEST, KEY) == encode_manifest(MANIFEST, SealKey(TEXT))
    assert encode_manifest(MANIFEST, KEY) != encode_manifest(MANIFEST, OTHER)


def test_codes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert KEY.fits(b"content", KEY.code(b"content"))
    assert not KEY.fits(b"content", "0" * 64)
    assert [len(one) for pair in compared for one in pair if isinstance(one, bytes)] == [64] * 4


def test_both_sides_of_the_shortest_key() -> None:
    SealKey("k" * KEY_LENGTH_MIN)
    with pytest.raises(ValueError, match="31 characters, at least 32"):
        SealKey("k" * (KEY_LENGTH_MIN - 1))


def test_a_key_shows_itself_nowhere() -> None:
    with pytest.raises(TypeError, match="not copied or stored"):
        pickle.dumps(KEY)

    assert TEXT not in f"{KEY} {KEY!r}"


@pytest.mark.fault("X10")
@pytest.mark.parametrize("depth", [300, 900, 5_000, 1_000_000])
def test_endless_nesting_is_damage_and_not_a_crash(depth: int) -> None:
    content = b'{"format":1,"a":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ArtefactDamagedError, match=r"^m\.json: "):
        unseal(content, None)


@pytest.mark.fault("X10")
def test_endless_digits_are_damage_and_not_an_hour_of_arithmetic() -> None:
    with pytest.raises(ArtefactDamagedError, match="no JSON"):
        unseal(b'{"format":1,"a":' + b"9" * 1_000_000 + b"}", None)
