"""What a run does with payloads and how it writes: frozen into its plan."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from migrate.mapping.field_paths import format_path, parse_path
from migrate.mapping.shards import Shards
from migrate.mapping.transforms.apply import path_after
from migrate.mapping.transforms.rules import ShardKeyField, Transform
from migrate.mapping.transforms.table import read_transforms
from migrate.mapping.value_rules import FIELD_IN_BRACES, template_fields
from migrate.model.choices import GroupType, HashMismatch, Nulls


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRules:
    """How payload becomes id, metadata and KV key; frozen into the plan.

    A field is named by its path in the payload (`migrate.mapping.field_paths`), before transforms.
    """

    id_template: str  # fields in braces, or {point_id}
    group_key: str  # payload field naming the file; "" = no KV file index
    order_key: str  # payload field with the chunk's number; "" = unordered
    hash_key: str  # payload field with the chunk's SHA-256 in hex; "" = not required
    key_template: str  # KV key of a file; holds {<group_key>}
    nulls: Nulls  # of the payload's own fields, not of inner ones
    truncate_field: str | None  # cut this text field when metadata is too large; None = quarantine
    hash_of: str = (
        ""  # payload field with the text that `hash_key` is the hash of; "" = not checked
    )
    hash_mismatch: HashMismatch = "warn"
    group_type: GroupType = "text"  # of the field that names the file
    transforms: tuple[Transform, ...] = ()  # payload -> metadata, in this order
    long_id_field: str | None = None  # metadata field for ids that are hashed; None = quarantine
    namespace: str = ""  # of the vector: fields in braces; "" = no vector is in a namespace
    shards: Shards | None = None  # the indexes that the files are divided over; None = one index

    @property
    def group_index_type(self) -> str:
        """The type of a metadata index that holds the field naming the file."""
        return "number" if self.group_type == "integer" else "string"

    @property
    def reaches_inside(self) -> bool:
        """Whether a rule is one that only plans of format 4 have."""
        fields = (self.group_key, self.order_key, self.hash_key, self.hash_of)
        paths = [*filter(None, fields), *template_fields(self.id_template)]
        is_inside = any(parse_path(path) != (path,) for path in paths)
        return is_inside or self.group_type != "text" or bool(self.transforms or self.long_id_field)

    @property
    def own_index(self) -> str | None:
        """The one of several vector indexes that a run writes into; None where there is one."""
        return None if self.shards is None else self.shards.own

    @property
    def shard_key_rule(self) -> ShardKeyField | None:
        """The rule that puts the shard key of a point into its payload."""
        return shard_key_rule(self.transforms)

    def record(self) -> dict[str, object]:
        """The members for a plan. Those that older plans do not have are left out by default."""
        members = asdict(self)
        members["transforms"] = [rule.table() for rule in self.transforms]
        without: dict[str, object] = {
            "group_type": "text",
            "transforms": [],
            "long_id_field": None,
            "namespace": "",
            "shards": None,
        }
        return {name: value for name, value in members.items() if without.get(name, ...) != value}

    @classmethod
    def from_record(cls, members: Mapping[str, Any]) -> "MappingRules":
        """The inverse of `record`. Raises TypeError or TableError for members that are none."""
        transforms = read_transforms(members.get("transforms", []))
        shards = _read_shards(members.get("shards"))
        return cls(**{**members, "transforms": transforms, "shards": shards})

    def on_metadata(self) -> "MappingRules":
        """The rules for metadata, as the transforms have made it: with its paths.

        A field that metadata has not, or not with its value, is the empty text; so is a namespace
        that is made of one.
        """
        if not self.transforms:
            return self
        group = self._path_in_metadata(self.group_key)
        is_there = all(map(self._path_in_metadata, template_fields(self.namespace)))
        return replace(
            self,
            id_template=self._template_in_metadata(self.id_template),
            namespace=self._template_in_metadata(self.namespace) if is_there else "",
            group_key=group,
            order_key=self._path_in_metadata(self.order_key),
            hash_key=self._path_in_metadata(self.hash_key),
            hash_of=self._path_in_metadata(self.hash_of),
            key_template=self.key_template.replace(f"{{{self.group_key}}}", f"{{{group}}}")
            if group
            else self.key_template,
            transforms=(),
        )

    def _template_in_metadata(self, template: str) -> str:
        return FIELD_IN_BRACES.sub(
            lambda found: f"{{{self._path_in_metadata(found[1]) or found[1]}}}", template
        )

    def _path_in_metadata(self, text: str) -> str:
        path = parse_path(text)
        found = None if path is None else path_after(self.transforms, path)
        return "" if found is None else format_path(found)

    @property
    def by_setting(self) -> dict[str, str]:
        """The rules that have to agree with each other, by the name of the setting of each."""
        return {
            "mapping.group_key": self.group_key,
            "mapping.group_type": self.group_type,
            "mapping.order_key": self.order_key,
            "mapping.hash_key": self.hash_key,
            "mapping.hash_of": self.hash_of,
            "mapping.hash_mismatch": self.hash_mismatch,
            "kv.key_template": self.key_template,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRules:
    """How the target is written; frozen, because batches are cut by it."""

    vectors_per_upload: int
    body_bytes: int  # per upload
    counter_key: str
    ttl_s: int | None  # of KV entries; None = no expiry


def _read_shards(members: dict[str, Any] | None) -> Shards | None:
    """Raises TypeError for members of another form."""
    return None if members is None else Shards(**{**members, "indexes": tuple(members["indexes"])})


def shard_key_rule(transforms: Sequence[Transform]) -> ShardKeyField | None:
    """The one of these rules that puts the shard key of a point into its payload."""
    return next((rule for rule in transforms if isinstance(rule, ShardKeyField)), None)
