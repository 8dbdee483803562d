"""Compare what is installed with what requirements.lock allows."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")
# The installer itself, and the project with its extra: none is a dependency.
NOT_LOCKED = frozenset({"pip", "qdrant-to-vectorize", "qdrant-to-vectorize-rehearsal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One requirement of the lock."""

    name: str  # canonical
    version: str
    extras: frozenset[str]
    sha256: tuple[str, ...]  # of every file that may be installed for it
    applies: bool  # to this platform and this Python


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock as read: what it pins, and what is wrong with it."""

    pins: tuple[Locked, ...]
    complaints: tuple[str, ...]


def read_lock(text: str) -> Lock:
    """Every requirement, pinned to one version and to hashes; anything else is a complaint."""
    pins: list[Locked] = []
    complaints: list[str] = []
    for line in _logical_lines(text):
        try:
            pins.append(_pin(line))
        except ValueError as error:
            complaints.append(f"requirements.lock: {line[:80]!r}: {error}")
    return Lock(tuple(pins), tuple(complaints))


def _logical_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        content = line.partition(" #")[0].strip()
        if content and not content.startswith("#"):
            yield content


def _pin(line: str) -> Locked:
    hashes = tuple(_HASH.findall(line))
    text = line.partition(" --hash")[0].strip()
    if text.startswith("-"):
        raise ValueError("an option, only pinned requirements are expected")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError("no requirement") from error
    if requirement.url is not None:
        raise ValueError("from an address of its own, not from the registry")
    versions = [spec.version for spec in requirement.specifier if spec.operator == "=="]
    if len(versions) != 1 or len(requirement.specifier) != 1 or "*" in versions[0]:
        raise ValueError("not pinned to one version")
    if not hashes:
        raise ValueError("no SHA-256")
    return Locked(
        name=canonicalize_name(requirement.name),
        version=versions[0],
        extras=frozenset(requirement.extras),
        sha256=hashes,
        applies=requirement.marker is None or requirement.marker.evaluate(),
    )


def compare(pins: Iterable[Locked], installed: Mapping[str, str]) -> list[str]:
    """What is installed and not locked, locked and not installed, or of another version.

    `installed` maps canonical names to versions.
    """
    wanted = {pin.name: pin.version for pin in pins if pin.applies}
    found = {name: version for name, version in installed.items() if name not in NOT_LOCKED}
    complaints = [
        f"{name} {found[name]} is installed and not locked"
        for name in sorted(found.keys() - wanted)
    ]
    complaints += [
        f"{name} {wanted[name]} is locked and not installed"
        for name in sorted(wanted.keys() - found)
    ]
    complaints += [
        f"{name} {found[name]} is installed, {wanted[name]} is locked"
        for name in sorted(found.keys() & wanted)
        if found[name] != wanted[name]
    ]
    return complaints


def compare_extras(pins: Iterable[Locked], installed: Iterable[Distribution]) -> list[str]:
    """The extras that some distribution asks for and the lock does not name.

    Without its extra in the lock, `coverage[toml]>=7` is a requirement of its own to the
    installer: with hashes it installs only as long as the locked version is the newest one.
    """
    extras = {pin.name: pin.extras for pin in pins if pin.applies}
    complaints: set[str] = set()
    for distribution in installed:
        name = canonicalize_name(distribution.metadata["Name"])
        for text in distribution.requires or []:
            asked = Requirement(text)
            wanted = asked.extras - extras.get(canonicalize_name(asked.name), frozenset())
            if wanted and _applies(asked, extras.get(name, frozenset())):
                complaints.add(
                    f"{name} asks for {asked.name}[{','.join(sorted(wanted))}]: not locked"
                )
    return sorted(complaints)


def _applies(asked: Requirement, extras: frozenset[str]) -> bool:
    """Whether it is asked for here, by a distribution installed with these extras."""
    return asked.marker is None or any(
        asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)
    )
