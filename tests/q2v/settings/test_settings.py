"""Settings: which value wins, and where it came from."""

import json
import os
import string
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import UsageError
from migrate.mapping.transforms.rules import Transform
from migrate.mapping.value_rules import index_types, truncated_field
from q2v.output.configured import environment_warnings, shown_settings, unknown_environment
from q2v.rules.required import check_required
from q2v.settings import BY_KEY, SETTINGS, Setting, Settings
from tests.docs.settings_table import docs_table
from tests.q2v.settings.layers import bounds, load, load_settings, refusal, write_config

TEXTS: dict[str, list[str]] = {
    "source.url": ["http://localhost:6333", "https://qdrant.example:6333", "http://[::1]:6333"],
    "target.api_base_url": ["http://127.0.0.1:8787/client/v4", "https://example.com/v4"],
    "target.vector_index": ["wiki-0"],  # one of every list below
    "target.verifier_url": ["https://q2v-verifier.a.workers.dev", "http://127.0.0.1:8787"],
    "target.vector_binding": ["VECTORIZE", "chunks_2", "_v"],
    "target.kv_binding": ["FILES", "kv_index"],
    "target.metadata_indexes": ["file_id:string", "chunk_index:number"],
    "source.grpc_url": ["https://grpc.example:443", "http://127.0.0.1:6334"],
    "source.filter": ['{"must":[{"key":"n","match":{"value":1}}]}', '{"must_not":[]}'],
    "mapping.namespace": ["{tenant}", "t-{owner.team}"],
    "mapping.id_template": ["{point_id}", "{file_id}-{chunk_index}", "v{chunk_hash}"],
    "mapping.group_key": ["file_id", "file_id"],
    "mapping.oversize_metadata": ["quarantine", "truncate:text"],
    "mapping.long_ids": ["quarantine", "hash:vector_id"],
    "kv.key_template": ["file:{file_id}", "f/{file_id}"],
}
LISTS = {  # in the order in which they are shown
    "target.shards": [["wiki-0", "wiki-1"], ["B", "wiki-0", "wiki_1"]],
}
TRANSFORMS: list[dict[str, object]] = [
    {"drop": ["internal", 'meta."a.b"']},
    {"rename": "metadata.source", "to": "source"},
    {"constant": "is_moved", "value": True},
]
PLAIN = [setting for setting in SETTINGS if not setting.is_secret]


def values_of(setting: Setting) -> st.SearchStrategy[Any]:
    """Values of a setting as a TOML file would give them."""
    if setting.is_flag:
        return st.just(True)
    some = setting.rule.words or LISTS.get(setting.key)
    if some:
        return st.sampled_from(some)
    if setting.key == "mapping.transform":
        return st.lists(st.sampled_from(TRANSFORMS), min_size=1, unique_by=json.dumps)
    if setting.key in TEXTS:
        texts = st.sampled_from(TEXTS[setting.key])
        return st.lists(texts, min_size=1, unique=True) if setting.rule.native is list else texts
    found = bounds(setting)
    if found is not None:
        low, high = found
        return st.integers(max(int(low), 1), int(high))
    # Some names have to begin with a letter.
    first, others = string.ascii_letters, string.ascii_letters + string.digits + "_-"
    return st.builds(str.__add__, st.sampled_from(first), st.text(others, max_size=19))


def as_text(value: object) -> str:
    """The same value as an environment variable or a flag spells it."""
    if isinstance(value, list):
        return json.dumps(value) if isinstance(value[0], dict) else ",".join(value)
    return str(value)


def native(value: object) -> object:
    """A resolved value in the notation of a TOML file."""
    return (
        [one.table() if isinstance(one, Transform) else one for one in value]
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )


@given(st.data())
def test_the_highest_layer_that_gives_a_value_wins_and_is_named(data: st.DataObject) -> None:
    """Flag over environment over file over default, for every setting."""
    setting = data.draw(st.sampled_from(PLAIN))
    layers = ["file", "environment", "flag"]
    if setting.is_flag:
        layers = ["flag"]
    elif setting.flag is None:
        layers.remove("flag")
    given_in = data.draw(st.sets(st.sampled_from(layers)))
    values = {layer: data.draw(values_of(setting), layer) for layer in given_in}

    with tempfile.TemporaryDirectory() as folder:
        config = None
        if "file" in values:
            config = write_config(Path(folder), {setting.key: values["file"]})
        environment, typed = {}, {}
        if "environment" in values:
            environment[str(setting.environment)] = as_text(values["environment"])
        if "flag" in values:
            flag = values["flag"]
            typed[setting.key] = flag if flag is True else as_text(flag)
        settings = load_settings(config=config, environment=environment, flags=typed)

    winner = next((layer for layer in reversed(layers) if layer in values), None)
    origins = {
        None: "default",
        "file": str(config),
        "environment": f"environment {setting.environment}",
        "flag": f"flag {setting.flag}",
    }
    default = Settings().value(setting.key)
    assert (values[winner] if winner else native(default)) == native(settings.value(setting.key))
    assert origins[winner] == str(settings.origin(setting.key))
    others = [key for key in BY_KEY if key != setting.key]
    assert all(settings.value(key) == Settings().value(key) for key in others)


def test_an_empty_environment_variable_counts_as_not_set(tmp_path: Path) -> None:
    settings = load(tmp_path, {"source.collection": "a"}, {"QDRANT_COLLECTION": ""})

    assert settings.source.collection == "a"


def test_server_or_folder_the_higher_layer_chooses(tmp_path: Path) -> None:
    settings = load(tmp_path, {"source.url": "http://h"}, flags={"source.path": "store"})

    assert settings.source.url is None
    assert settings.source.path == Path("store")
    assert str(settings.origin("source.url")) == "set aside by flag --source-path"


def test_server_and_folder_from_one_layer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {"source.url": "http://h", "source.path": "store"})

    assert "found both source.url" in refusal(error)


def test_the_key_template_follows_the_group_key(tmp_path: Path) -> None:
    """With another group key the default template would give every file one key."""
    with pytest.raises(UsageError) as error:
        load(tmp_path, {"mapping.group_key": "doc"})

    assert 'kv.key_template = "file:{doc}"' in refusal(error)
    assert load(tmp_path, {"mapping.group_key": ""}).mapping.group_key == ""


def test_the_flag_that_widens_the_hosts_cannot_stand_in_a_file_or_the_environment(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, {"target.allow_other_host": True})

    assert "--allow-other-host" in refusal(error)
    assert BY_KEY["target.allow_other_host"].environment is None


def test_everything_missing_is_named_at_once_with_each_way_to_set_it() -> None:
    with pytest.raises(UsageError) as error:
        check_required(Settings(), "source.url", "source.collection", "target.api_token")

    text = refusal(error)
    for way in (
        "QDRANT_URL",
        "source.path",
        "--collection",
        "CLOUDFLARE_API_TOKEN_FILE",
        "target.api_token_file",
    ):
        assert way in text


def test_the_indexes_are_named_where_one_of_them_and_more_is_missing(tmp_path: Path) -> None:
    settings = load(tmp_path, {"target.shards": ["wiki-0", "wiki-1"]})
    with pytest.raises(UsageError) as error:
        check_required(settings, "target.vector_index", "target.kv_namespace_id")
    assert "target.shards (wiki-0, wiki-1)" in refusal(error)


def test_a_folder_will_do_where_a_server_is_required(tmp_path: Path) -> None:
    check_required(load(tmp_path, {"source.path": "store"}), "source.url")


def test_a_misspelt_environment_variable_is_noticed() -> None:
    given = {"Q2V_DIMENSION": "1536", "Q2V_REDUCE": "none", "HOME": "/"}
    with patch.dict(os.environ, given, clear=True):
        assert unknown_environment() == [("Q2V_DIMENSION", "Q2V_DIMENSIONS")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Q2V_TARGET_VECTOR_INDEX", "Q2V_VECTOR_INDEX"),  # by section and name
        ("Q2V_TARGET_INDEX", "Q2V_VECTOR_INDEX"),
        ("Q2V_SOURCE_COLLECTION", "QDRANT_COLLECTION"),
        ("Q2V_API_TOKEN", "CLOUDFLARE_API_TOKEN"),  # by the name alone
        ("Q2V_API_TOKEN_FILE", "CLOUDFLARE_API_TOKEN_FILE"),
        ("Q2V_URL", "QDRANT_URL"),
        ("Q2V_KV_NAMESPACE", "Q2V_KV_NAMESPACE_ID"),
        ("Q2V_BUDGET", "Q2V_BUDGET_DIR"),
        ("Q2V_DIR", None),
        ("Q2V_DIRR", None),
        ("Q2V_HOME", None),
        ("Q2V_MAPPING_KEY", None),  # hash_key, group_key or order_key
    ],
)
def test_the_name_that_was_meant_is_named_or_none(name: str, meant: str | None) -> None:
    with patch.dict(os.environ, {name: "x"}, clear=True):
        assert unknown_environment() == [(name, meant)]


def test_a_name_like_no_other_is_warned_of_without_a_hint() -> None:
    with patch.dict(os.environ, {"Q2V_HOME": "x"}, clear=True):
        assert environment_warnings() == [
            "unknown environment variable Q2V_HOME ignored; no setting is read from it"
        ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("QDRANT_APIKEY", "QDRANT_API_KEY"),
        ("QDRANT_KEY", "QDRANT_API_KEY"),
        ("QDRANT_URI", "QDRANT_URL"),
        ("QDRANT_COLLECTION_NAME", "QDRANT_COLLECTION"),
        ("qdrant_url", "QDRANT_URL"),
        ("CLOUDFLARE_TOKEN", "CLOUDFLARE_API_TOKEN"),
        ("CLOUDFARE_API_TOKEN", "CLOUDFLARE_API_TOKEN"),
        ("CLOUDFLARE_TOKEN_FILE", "CLOUDFLARE_API_TOKEN_FILE"),
        ("CLOUDFLARE_ACCOUNT", "CLOUDFLARE_ACCOUNT_ID"),
    ],
)
def test_a_name_that_is_nearly_one_of_a_service_is_noticed_until_that_is_set(
    name: str, meant: str
) -> None:
    with patch.dict(os.environ, {name: "x"}, clear=True):
        assert unknown_environment() == [(name, meant)]
    with patch.dict(os.environ, {name: "x", meant: "y"}, clear=True):
        assert unknown_environment() == []


def test_variables_of_other_programs_are_not_spoken_of() -> None:
    names = (
        "CLOUDFLARE_API_KEY CLOUDFLARE_EMAIL CLOUDFLARE_API_BASE_URL CLOUDFLARE_ZONE_ID "
        "CLOUDFLARE_DNS_API_TOKEN CLOUDFLARE_R2_TOKEN CLOUDFLARE_D1_TOKEN CLOUDFLARE_ENV "
        "CLOUDFLARE_R2_ACCOUNT_ID CLOUDFLARE_ZONE_API_TOKEN QDRANT_DB_PATH "
        "CLOUDFLARE_ACCESS_CLIENT_ID CF_API_TOKEN QDRANT__SERVICE__API_KEY QDRANT_PORT "
        "QDRANT_HOST QDRANT_LOCAL_PATH COLUMNS COLORTERM"
    )
    with patch.dict(os.environ, dict.fromkeys(names.split(), "x"), clear=True):
        assert unknown_environment() == []


def test_variables_that_name_a_file_or_a_budget_are_known() -> None:
    given = {"Q2V_VERIFIER_KEY_FILE": "key", "Q2V_BUDGET_DIR": "budget", "Q2V_REDUCE_FILE": "x"}
    with patch.dict(os.environ, given, clear=True):
        assert [name for name, _ in unknown_environment()] == ["Q2V_REDUCE_FILE"]


def test_every_setting_is_resolved_and_documented_once() -> None:
    rows = shown_settings(Settings())
    keys = [row["key"] for row in rows]
    table = docs_table().splitlines()

    assert len(SETTINGS) == len(set(keys)) == len(table) - 2
    assert all(line.count(" | ") == 5 for line in table[:1] + table[2:])
    assert json.loads(json.dumps([row["value"] for row in rows])) is not None
    assert all(setting.meaning.endswith(".") for setting in SETTINGS)


def test_names_of_environment_variables_and_flags_are_unique() -> None:
    environment = [s.environment for s in SETTINGS if s.environment]
    flags = [s.flag for s in SETTINGS if s.flag]

    assert len(environment) == len(set(environment))
    assert len(flags) == len(set(flags))
    assert not [s.key for s in SETTINGS if s.is_secret and s.flag]


def test_what_settings_say_in_one_text_is_read_from_it(tmp_path: Path) -> None:
    rules: dict[str, object] = {
        "mapping.oversize_metadata": "truncate:text",
        "target.metadata_indexes": ["file_id:string", "chunk_index:number"],
    }
    settings = load(tmp_path, rules)

    assert truncated_field(settings.mapping.oversize_metadata) == "text"
    assert truncated_field(Settings().mapping.oversize_metadata) is None
    assert index_types(settings.target.metadata_indexes) == {
        "file_id": "string",
        "chunk_index": "number",
    }
