"""Values with which no point could ever move are refused at once, wherever they come from."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode, UsageError
from migrate.mapping.agreement import idle_rules
from q2v.main import cli
from q2v.rules.stages import mapping_rules
from q2v.settings import BY_KEY, SETTINGS
from tests.q2v.settings.layers import bounds, load, refusal

LONG_KEY = "k" * 513
HUGE = int("9" * 24)

CANNOT_WORK: list[tuple[str, object]] = [
    ("source.collection", "."),
    ("source.collection", ".."),
    ("source.collection", "a/b"),
    ("source.collection", "c" * 256),
    ("target.metadata_indexes", ["file_id :string"]),
    ("target.metadata_indexes", [" file_id:string"]),
    ("target.metadata_indexes", ["$file_id:string"]),
    ("target.metadata_indexes", ['file"id:string']),
    ("target.metadata_indexes", ["a..b:string"]),
    ("target.metadata_indexes", [".a:string"]),
    ("target.metadata_indexes", [f"{'a' * 513}:string"]),
    ("mapping.id_template", "{ file_id }"),
    ("mapping.id_template", "{file_id }_{chunk_index}"),
    ("mapping.id_template", "{}"),
    ("mapping.id_template", "{a..b}"),
    ("mapping.id_template", "{a[x]}"),
    ("mapping.id_template", f"{'x' * 64}{{file_id}}"),
    ("mapping.id_template", f"{'x' * 63}{{file_id}}{{chunk_index}}"),
    ("mapping.namespace", "tenant"),
    ("mapping.namespace", "{point_id}"),
    ("mapping.namespace", f"{'x' * 64}{{tenant}}"),
    ("mapping.group_key", " file_id"),
    ("mapping.group_key", "file.id."),
    ("mapping.group_key", "[0]"),
    ("mapping.group_key", "pages[01]"),
    ("mapping.group_key", "meta.$id"),
    ("mapping.group_type", "number"),
    ("mapping.group_key", "$file_id"),
    ("mapping.group_key", "chunk_index"),
    ("mapping.order_key", "chunk index "),
    ("mapping.order_key", 'chunk"index'),
    ("mapping.order_key", "file_id"),
    ("mapping.order_key", "chunk_hash"),
    ("mapping.hash_key", ".chunk_hash"),
    ("mapping.hash_of", "text "),
    ("mapping.hash_of", "chunk_hash"),
    ("source.filter", "tenant = a"),
    ("source.filter", "[]"),
    ("source.filter", "{}"),
    ("source.filter", '{"must": NaN}'),
    ("mapping.oversize_metadata", "truncate: text"),
    ("mapping.oversize_metadata", "truncate:a.b"),
    ("mapping.long_ids", "hash"),
    ("mapping.long_ids", "hash:a.b"),
    ("mapping.dimensions", 31),
    ("mapping.dimensions", 1_537),
    ("kv.key_template", "file: {file_id}"),
    ("kv.key_template", "file:{ file_id }"),
    ("kv.key_template", "file\u00a0{file_id}"),
    ("kv.key_template", "{file_id}{file_id}"),
    ("kv.key_template", f"{LONG_KEY[1:]}{{file_id}}"),
    ("kv.key_template", "no field"),
    ("kv.key_template", ""),
    ("kv.counter_key", ""),
    ("kv.counter_key", "."),
    ("kv.counter_key", ".."),
    ("kv.counter_key", "vector count"),
    ("kv.counter_key", LONG_KEY),
    ("kv.counter_key", "ü" * 257),
    ("kv.ttl_s", 59),
    ("kv.ttl_s", 3_153_600_001),
    ("limits.body_bytes", 85),
    *[(setting.key, HUGE) for setting in SETTINGS if bounds(setting) is not None],
    *[(setting.key, -HUGE) for setting in SETTINGS if bounds(setting) is not None],
]


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@pytest.mark.fault("F20")
@pytest.mark.parametrize(("key", "value"), CANNOT_WORK)
def test_it_is_refused_with_its_name_in_the_file_the_environment_and_as_a_flag(
    tmp_path: Path, key: str, value: object
) -> None:
    setting = BY_KEY[key]
    with pytest.raises(UsageError) as by_file:
        load(tmp_path, {key: value})

    assert key in refusal(by_file)
    if value != "" and key != "target.metadata_indexes":  # an empty variable counts as not set
        assert setting.environment is not None
        with pytest.raises(UsageError) as by_environment:
            load(tmp_path, environment={setting.environment: _as_text(value)})
        assert key in refusal(by_environment)
    if setting.flag is not None:
        with pytest.raises(UsageError) as by_flag:
            load(tmp_path, flags={key: _as_text(value)})
        assert key in refusal(by_flag)


@pytest.mark.fault("F20")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source.collection", "c" * 255),
        ("source.collection", "my docs (old).v2"),
        ("target.metadata_indexes", ["owner.name:string", "last modified:number"]),
        ("mapping.id_template", f"{'x' * 63}{{file_id}}"),
        ("mapping.id_template", "{file_id} {chunk index}"),
        ("mapping.namespace", f"{'x' * 63}{{tenant}}"),
        ("mapping.dimensions", 32),
        ("mapping.dimensions", 1_536),
        ("kv.key_template", f"{LONG_KEY[2:]}{{file_id}}"),
        ("kv.key_template", "{file_id}"),
        ("kv.counter_key", LONG_KEY[1:]),
        ("kv.counter_key", "file:count"),
        ("kv.ttl_s", 3_153_600_000),
        ("mapping.hash_key", "file_id"),
        ("mapping.oversize_metadata", "truncate:my text"),
    ],
)
def test_the_nearest_value_that_can_work_is_taken(tmp_path: Path, key: str, value: object) -> None:
    found = load(tmp_path, {key: value}).value(key)

    assert value == (list(found) if isinstance(found, tuple) else found)


@pytest.mark.fault("F20")
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"[limits]\nmax_quarantine = {HUGE}\n", "limits.max_quarantine"),
        (f"[limits]\nmax_quarantine = 0x{'f' * 5_000}\n", "limits.max_quarantine"),
        (f"[limits]\ndeadline_s = {'9' * 400}\n", "limits.deadline_s"),
        (f"[limits]\ndeadline_s = {'9' * 400}.0\n", "limits.deadline_s"),
        (f"[limits]\ndeadline_s = {'9' * 5_000}\n", "deadline_s"),
        (f"[kv]\nttl_s = {'9' * 5_000}\n", "ttl_s"),
        ("[limits]\npoll_s = nan\n", "limits.poll_s"),
    ],
)
def test_a_number_of_any_length_ends_a_command_with_2_and_the_name_of_the_setting(
    tmp_path: Path, content: str, name: str
) -> None:
    """Numbers of more than 4,300 digits cannot even be printed by Python."""
    path = tmp_path / "migration.toml"
    path.write_text(content)

    result = CliRunner().invoke(cli, ["plan", "--config", str(path), "--dir", str(tmp_path / "s")])

    assert result.exit_code == ExitCode.USAGE, result.stderr
    assert name in result.stderr
    assert len(result.stderr) < 1_000


@pytest.mark.fault("F20")
def test_a_seed_that_no_report_could_hold_is_refused_with_its_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["reconcile", "--seed", str(HUGE), "--dir", str(tmp_path)])

    assert result.exit_code == ExitCode.USAGE
    assert "--seed" in result.stderr


@pytest.mark.fault("F20")
@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({}, ()),
        ({"mapping.hash_of": "text"}, ()),
        (
            {"mapping.hash_of": "text", "mapping.hash_key": ""},
            ("mapping.hash_of has no effect: mapping.hash_key is empty",),
        ),
        (
            {"mapping.hash_mismatch": "quarantine"},
            ("mapping.hash_mismatch has no effect: mapping.hash_of is empty",),
        ),
    ],
)
def test_a_setting_without_effect_is_named(
    tmp_path: Path, values: dict[str, object], notes: tuple[str, ...]
) -> None:
    assert idle_rules(mapping_rules(load(tmp_path, values)).by_setting) == notes
