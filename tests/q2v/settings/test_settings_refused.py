"""Settings that are refused, and in which words."""

from pathlib import Path

import pytest

from migrate.errors import UsageError
from q2v.settings import SETTINGS, Setting
from tests.q2v.settings.layers import bounds, load, load_settings, refusal

NUMBERS = [setting for setting in SETTINGS if bounds(setting) is not None]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("limits.requests_per_5min", True, "a whole number from 1 to 1,200 (requests)"),
        ("limits.requests_per_5min", 1_201, "a whole number from 1 to 1,200 (requests)"),
        ("limits.requests_per_5min", 0, "a whole number from 1 to 1,200 (requests)"),
        ("limits.requests_per_5min", 900.0, "a whole number from 1 to 1,200 (requests)"),
        ("limits.requests_per_5min", "900", "a whole number from 1 to 1,200 (requests)"),
        ("limits.poll_s", False, "a number from 0.01 to 300 (seconds)"),
        ("kv.ttl_s", 59, "a whole number from 60 to 3,153,600,000 (seconds)"),
        ("mapping.reduce", "Matryoshka", 'one of "none", "matryoshka"'),
        ("source.collection", "", "text"),
        ("source.collection", 7, "text"),
        ("source.collection", "a\u001bb", "text"),
        ("target.vector_index", "../other", "letters, digits, - and _, at most 64"),
        ("target.metadata_indexes", "file_id:string", "a list of texts"),
        ("target.shards", ["a"], "a list of at least 2 texts"),
        ("target.shards", ["a", "a"], "two differ in more than case"),
        ("target.shards", ["a-b", "a_b"], "two differ in more than case"),
        ("target.shards", ["a", "-b"], "a letter first"),
        ("target.metadata_indexes", ["file_id:text"], "type string, number or boolean"),
        ("target.metadata_indexes", ["a:string", "a:number"], "names differ"),
        ("target.metadata_indexes", [f"a{n}:string" for n in range(11)], "at most 10"),
        ("mapping.id_template", "file_id", "payload fields in braces"),
        ("mapping.id_template", "{file_id", "payload fields in braces"),
        ("mapping.oversize_metadata", "truncate:", '"quarantine" or "truncate:<field>"'),
        ("kv.key_template", "file:{name}", "{file_id}"),
        ("kv.key_template", "file\u0007:{file_id}", "no white space or control characters"),
        ("kv.counter_key", "a\u0007b", "no white space or control characters"),
        ("kv.counter_key", "a\u00adb", "no white space or control characters"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_place_finding_and_expectation(
    tmp_path: Path, key: str, value: object, expected: str
) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {key: value})

    text = refusal(error)
    assert key in text
    assert "migration.toml" in text
    assert expected in text


@pytest.mark.fault("F16")
@pytest.mark.parametrize("name", ["-docs", "--help", "_docs", "1docs", "9", "ädocs", "d" * 65])
def test_an_index_that_wrangler_could_not_name_is_refused_at_once(
    tmp_path: Path, name: str
) -> None:
    """Wrangler takes the name as a word of its own: a dash would make it an option."""
    with pytest.raises(UsageError) as by_file:
        load(tmp_path, {"target.vector_index": name})
    with pytest.raises(UsageError) as by_environment:
        load(tmp_path, environment={"Q2V_VECTOR_INDEX": name})
    with pytest.raises(UsageError) as by_flag:
        load(tmp_path, flags={"target.vector_index": name})

    for error in (by_file, by_environment, by_flag):
        assert "target.vector_index" in refusal(error)
        assert "a letter first" in refusal(error)
    assert load(tmp_path, {"target.vector_index": "D" * 64}).target.vector_index == "D" * 64


@pytest.mark.parametrize(
    "text", ["1e3", "1_000", "nan", "inf", " 5", "٣", "-1", "5.5", "9" * 5_000]
)
def test_environment_and_flags_take_plain_numbers_only(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as by_environment:
        load(tmp_path, environment={"Q2V_LIMITS_VECTORS_PER_UPLOAD": text})
    with pytest.raises(UsageError) as by_flag:
        load(tmp_path, flags={"limits.max_quarantine": text})

    assert "environment Q2V_LIMITS_VECTORS_PER_UPLOAD" in refusal(by_environment)
    assert "flag --max-quarantine" in refusal(by_flag)


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.key)
def test_both_sides_of_every_range_are_kept(tmp_path: Path, setting: Setting) -> None:
    """The bound itself passes, one beyond it does not."""
    found = bounds(setting)
    assert found is not None
    low, high = found
    for inside, outside in [(low, low - 1), (high, high + 1)]:
        kind = int if float(inside).is_integer() else float
        settings = load(tmp_path, {setting.key: kind(inside)})
        with pytest.raises(UsageError) as error:
            load(tmp_path, {setting.key: kind(outside)})

        assert inside == settings.value(setting.key)
        assert setting.rule.expected in refusal(error)


def test_an_unknown_key_is_refused_and_the_nearest_known_one_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"mapping\.dimension, .* nearest is mapping\.dimensions"
    ) as error:
        load(tmp_path, {"mapping.dimension": 1536})

    assert "rename it to mapping.dimensions" in refusal(error)


def test_an_unknown_section_is_refused_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source\.collection") as error:
        load(tmp_path, {"sorce.collection": "hunter2hunter2"})

    assert "hunter2" not in refusal(error)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"[source\n", "syntax error"),
        (b"api_token = 'hunter2hunter2'\n", "a single value for api_token"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"[source]\nfilter = " + b"{must = [" * 3_000, "nested too deeply"),
        (b"[limits]\nbody_bytes = " + b"9" * 5_000, "of more than 4000 digits for body_bytes"),
        (b"[source]\nfilter = {gt = " + b"9" * 5_000, "of more than 4000 digits for gt"),
        (b"[source]\ncollection = '\xff'\n", "not UTF-8 at offset"),
        (b"[source.url]\nhost = 'x'\n", "source.url"),
    ],
)
def test_a_broken_file_is_refused_whole(tmp_path: Path, content: bytes, finding: str) -> None:
    path = tmp_path / "migration.toml"
    path.write_bytes(content)

    with pytest.raises(UsageError) as error:
        load_settings(config=path, environment={}, flags={})

    text = refusal(error)
    assert finding in text
    assert str(path) in text
    assert "hunter2" not in text


def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "migration.toml").symlink_to(tmp_path / "gone.toml")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as error:
        load_settings(config=None, environment={}, flags={})

    assert "found no such file, or a link to none" in refusal(error)


@pytest.mark.fault("M09", "M15")
@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[" * 20_000 + "]" * 20_000, "nested too deeply"),
        ('[{"drop": ["a"], "drop": ["b"]}]', "found the member 'drop' twice"),
        ('[{"constant": "a", "value": NaN}]', "found NaN, which is no JSON"),
        ('[{"constant": "a", "value": 1e999}]', "value: found inf, expected a text, a number"),
        (f'[{{"constant": "a", "value": {"9" * 5_000}}}]', "found a number of 5,000 digits"),
        ('[{"constant": "a", "value": "\\ud800"}]', r"value: found '\ud800', expected"),
        (f'[{{"flatten": "a", "separator": "{"x" * 30_000}"}}]', "xxx..., expected a text"),
        ('[{"drop": ["a"]}', "found no JSON"),
    ],
)
def test_rules_in_a_variable_that_cannot_be_meant_are_refused(text: str, finding: str) -> None:
    with pytest.raises(UsageError) as error:
        load_settings(config=None, environment={"Q2V_MAPPING_TRANSFORM": text}, flags={})

    assert finding in refusal(error)
    assert len(refusal(error)) < 600


def test_numbers_of_a_filter_in_the_file_are_numbers_of_json(tmp_path: Path) -> None:
    path = tmp_path / "migration.toml"
    path.write_text('[source.filter]\nmust = [{ key = "n", range = { gte = nan } }]\n')

    with pytest.raises(UsageError) as error:
        load_settings(config=path, environment={}, flags={})

    assert "found a number that is not finite" in refusal(error)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path, finding in ((tmp_path / "none.toml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError) as error:
            load_settings(config=path, environment={}, flags={})

        assert finding in refusal(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2hunter2@host:6333",
        "http://hunter2hunter2@host",
        "https://host/?api_key=hunter2hunter2",
        "https://host/#hunter2hunter2",
        "ftp://hunter2hunter2",
        "http://host:99999/hunter2hunter2",
        "https://[hunter2hunter2",
        "https:///hunter2hunter2",
    ],
)
@pytest.mark.parametrize("key", ["source.url", "target.api_base_url"])
def test_a_url_with_a_secret_or_without_a_host_is_refused_unseen(
    tmp_path: Path, key: str, url: str
) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {key: url})

    assert "hunter2" not in refusal(error)
