"""Settings that fit each by itself and cannot work together, or are missing."""

from migrate.errors import UsageError
from migrate.mapping.value_rules import template_fields
from q2v.settings.sections import Settings

# Two fields of a point that are never the same: an integer, a text of 64 hex digits, and its text.
_NEVER_THE_SAME = (
    ("mapping.order_key", "mapping.group_key", "the first is an integer, the second a text"),
    ("mapping.order_key", "mapping.hash_key", "the first is an integer, the second a text"),
    ("mapping.hash_of", "mapping.hash_key", "no text holds its own SHA-256"),
)


def check_agreement(settings: Settings) -> None:
    """Raises UsageError for settings with which no point could move, naming them."""
    group, template = settings.mapping.group_key, settings.kv.key_template
    if group and template_fields(template) != (group,):  # every file would get the same KV key
        raise UsageError(
            f'kv.key_template from {settings.origin("kv.key_template")}: found "{template}", '
            f"expected the field of mapping.group_key in braces, {{{group}}}, and no other",
            remedy=f'set kv.key_template = "file:{{{group}}}" or similar',
        )
    for first, second, why in _NEVER_THE_SAME:
        name = settings.value(first)
        if name and name == settings.value(second):
            raise UsageError(
                f'{first} from {settings.origin(first)}: found "{name}", the same field as '
                f"{second} from {settings.origin(second)}; expected two fields: {why}",
                remedy=f"correct {first} or {second}, or set the one that is not needed to the "
                "empty text in migration.toml",
            )


def idle_settings(settings: Settings) -> tuple[str, ...]:
    """What is set and has no effect beside the other settings, in words."""
    mapping = settings.mapping
    notes = []
    if mapping.hash_of and not mapping.hash_key:
        notes.append("mapping.hash_of has no effect: mapping.hash_key is empty")
    if mapping.hash_mismatch == "quarantine" and not mapping.hash_of:
        notes.append("mapping.hash_mismatch has no effect: mapping.hash_of is empty")
    return tuple(notes)
