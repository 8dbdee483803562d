"""Ask a public database whether a dependency is known to be vulnerable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

OSV_URL = "https://api.osv.dev/v1/querybatch"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The database answered: what it knows, which may be nothing."""

    known: tuple[str, ...]  # "name version: id, id"


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The database could not be asked. Nothing is known, which is not the same as no finding."""

    why: str


def ask(installed: Mapping[str, str], client: httpx.Client) -> Asked | NotAsked:
    """One request with names and versions of public packages, and nothing else."""
    packages = sorted(installed.items())
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in packages
    ]
    try:
        answer = client.post(OSV_URL, json={"queries": queries}, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return Asked(_known(packages, answer.json()["results"]))
    except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
        return NotAsked(f"{type(error).__name__}: {error}"[:200])


def _known(
    packages: Sequence[tuple[str, str]], results: list[dict[str, object]]
) -> tuple[str, ...]:
    found = []
    for (name, version), result in zip(packages, results, strict=True):
        vulnerabilities = result.get("vulns") or []
        if not isinstance(vulnerabilities, list):
            raise TypeError("vulns is no list")
        ids = sorted({str(each["id"]) for each in vulnerabilities})
        if ids:
            found.append(f"{name} {version}: {', '.join(ids)}")
    return tuple(found)
