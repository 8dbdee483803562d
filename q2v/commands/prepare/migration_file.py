"""The text of the first `migration.toml`: source, target and the mapping for a payload shape."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from migrate.mapping.shapes.proposal import Proposal
from migrate.model.limits import DIMENSIONS_MAX
from q2v.settings import BY_KEY, Settings

# Of these a value that was given goes into the file, under its section.
SOURCE_KEYS = (
    "source.url",
    "source.path",
    "source.collection",
    "source.vector_name",
    "source.transport",
    "source.compression",
)
TARGET_KEYS = ("target.account_id", "target.vector_index")

# Each variable with what has to be in it; RUNBOOK.md says which command needs which rights.
Secrets = tuple[tuple[str, tuple[str, ...]], ...]  # variable, and what it is for
_SECRETS: Secrets = (
    (
        "QDRANT_API_KEY",
        ("key of the Qdrant server, if it has keys: read-only, for this one collection",),
    ),
    (
        "CLOUDFLARE_API_TOKEN",
        (
            "token to write, with an expiry after the window: Vectorize: Edit and Workers KV "
            "Storage: Edit (for plan, provision, migrate, catch-up, gate, rollback, reset-target)",
            "token to look: Vectorize: Read and Workers KV Storage: Read (for reconcile, monitor)",
            "made under My Profile > API Tokens > Create Token > Custom token, with this one "
            "account and no other permission",
        ),
    ),
)
_MAPPING = "mapping"
_WIDTH = 98


def secrets_for(settings: Settings) -> Secrets:
    """The secrets that the commands need for these settings; a folder has no key."""
    return _SECRETS if settings.source.path is None else _SECRETS[1:]


def migration_file(settings: Settings, proposal: Proposal, dimensions: int | None) -> str:
    """The whole file; `dimensions` of the source, None where it was not read."""
    blocks = [
        _head(settings, proposal),
        _section("source", _given(settings, SOURCE_KEYS)),
        _target(settings, proposal),
        _mapping(proposal, dimensions),
        *_transforms(proposal),
    ]
    if proposal.group_key:
        blocks.append(_section("kv", {"key_template": proposal.key_template}))
    if settings.tls.ca_file is not None:
        blocks.append(_section("tls", _given(settings, ("tls.ca_file",))))
    return "\n".join("\n".join(lines) + "\n" for lines in blocks)


def _head(settings: Settings, proposal: Proposal) -> list[str]:
    shape = proposal.shape
    lines = [
        *_comment(
            f"Settings of one migration, for payloads of shape {shape.name}: those of "
            f"{shape.written_by}. Every other setting: docs/settings.md."
        ),
        "#",
        *_comment(
            "This file holds no secret. Put each into a variable of the environment, or into a "
            "file of mode 0600 whose path is in the variable with _FILE at its end:"
        ),
    ]
    for variable, uses in secrets_for(settings):
        lines.append(f"#   {variable}")
        lines += _items(uses, indent="    ")
    return lines


def _target(settings: Settings, proposal: Proposal) -> list[str]:
    values = _given(settings, TARGET_KEYS)
    lines = _section("target", values)
    if "account_id" not in values:
        lines.append('# account_id = "..."  # or the variable CLOUDFLARE_ACCOUNT_ID')
    return [
        *lines,
        '# kv_namespace_id = "..."  # as `q2v provision` prints it',
        *_comment(
            "Fields that queries filter by. A filter finds no vector that was written before its "
            "metadata index, so all of them are named here before the first upload."
        ),
        _line("metadata_indexes", list(proposal.metadata_indexes)),
    ]


def _mapping(proposal: Proposal, dimensions: int | None) -> list[str]:
    shape = proposal.shape
    lines = [
        f"[{_MAPPING}]",
        *_items((*proposal.reasons, *shape.advice)),
        _line("id_template", shape.id_template),
        _line("group_key", proposal.group_key),
        _line("order_key", proposal.order_key),
        _line("hash_key", proposal.hash_key),
    ]
    if dimensions is not None and dimensions > DIMENSIONS_MAX:
        lines += _comment(
            f"The source has {dimensions:,} dimensions, a vector index at most {DIMENSIONS_MAX:,}. "
            "The first values alone are right only for a model that was trained for it:"
        )
        lines += [f"# dimensions = {DIMENSIONS_MAX}", '# reduce = "matryoshka"']
    return lines


def _transforms(proposal: Proposal) -> Iterator[list[str]]:
    for table in proposal.shape.transforms:
        yield [f"[[{_MAPPING}.transform]]", *(_line(key, value) for key, value in table.items())]


def _given(settings: Settings, keys: tuple[str, ...]) -> dict[str, object]:
    """Those of the settings that are not their default, by their name within the section."""
    values = {}
    for setting in (BY_KEY[key] for key in keys):
        value = getattr(getattr(settings, setting.section), setting.field)
        if value != setting.default:
            values[setting.field] = value
    return values


def _section(name: str, values: Mapping[str, object]) -> list[str]:
    return [f"[{name}]", *(_line(key, value) for key, value in values.items())]


def _line(key: str, value: object) -> str:
    """A key with its value. Values of settings are printable, so JSON spells them as TOML does."""
    plain = str(value) if isinstance(value, Path) else value
    return f"{key} = {json.dumps(plain, ensure_ascii=False)}"


def _items(texts: Iterable[str], *, indent: str = "") -> list[str]:
    return [
        line for text in texts for line in _comment(text, first=f"{indent}- ", rest=f"{indent}  ")
    ]


def _comment(text: str, *, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"# {first}",
        subsequent_indent=f"# {rest}",
        break_long_words=False,
        break_on_hyphens=False,
    )
