"""The bill of materials: every installed distribution, as CycloneDX 1.6."""

import json
import uuid
from collections.abc import Iterable
from importlib.metadata import Distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.audit.lock import Locked

PROJECT = "qdrant-to-vectorize"
_LICENSE_CHARACTERS_MAX = 100  # some put the whole text there


def encode_sbom(distributions: Iterable[Distribution], pins: Iterable[Locked]) -> str:
    """The document; the same for the same distributions."""
    by_name = {str(canonicalize_name(one.metadata["Name"])): one for one in distributions}
    sums = {pin.name: pin.sha256 for pin in pins}
    project = by_name.pop(PROJECT)
    by_name.pop("pip", None)  # installs, and is no part of what is installed
    components = [_component(name, by_name[name], sums) for name in sorted(by_name)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))}",
        "version": 1,
        "metadata": {"component": {**_identity(PROJECT, project), "type": "application"}},
        "components": components,
        "dependencies": [
            _dependencies(name, one, by_name)
            for name, one in [(PROJECT, project), *sorted(by_name.items())]
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _identity(name: str, distribution: Distribution) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": _reference(name, distribution),
        "name": name,
        "version": distribution.version,
        "purl": _reference(name, distribution),
    }


def _reference(name: str, distribution: Distribution) -> str:
    return f"pkg:pypi/{name}@{distribution.version}"


def _component(
    name: str, distribution: Distribution, sums: dict[str, tuple[str, ...]]
) -> dict[str, object]:
    component = _identity(name, distribution)
    text = _license(distribution)
    if text is not None:
        component["licenses"] = [{"license": {"name": text}}]
    if name in sums:
        # Any one of these files may be what was installed: the lock names them all.
        component["properties"] = [
            {"name": "q2v:locked-sha256", "value": value} for value in sums[name]
        ]
    return component


def _license(distribution: Distribution) -> str | None:
    metadata = distribution.metadata
    for key in ("License-Expression", "License"):
        text = metadata[key] if key in metadata else ""  # noqa: SIM401 - it has no `get`
        if text and len(text) <= _LICENSE_CHARACTERS_MAX and "\n" not in text:
            return text
    return None


def _dependencies(
    name: str, distribution: Distribution, by_name: dict[str, Distribution]
) -> dict[str, object]:
    needed = set()
    for text in distribution.requires or []:
        requirement = Requirement(text)
        other = str(canonicalize_name(requirement.name))
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and other in by_name:
            needed.add(_reference(other, by_name[other]))
    return {"ref": _reference(name, distribution), "dependsOn": sorted(needed)}
