"""`make audit`: lock against installation, known vulnerabilities, bill of materials."""

import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import assert_never

import httpx
from packaging.utils import canonicalize_name

from tools.audit.advisories import Asked, NotAsked, ask
from tools.audit.lock import NOT_LOCKED, compare, compare_extras, read_lock
from tools.audit.sbom import encode_sbom

LOCK = Path("requirements.lock")
SBOM = Path("build/sbom.json")


def main() -> int:
    """Print what holds; 0 unless a check that could be made has failed."""
    found = list(distributions())
    installed = {str(canonicalize_name(one.metadata["Name"])): one.version for one in found}
    lock = read_lock(LOCK.read_text(encoding="utf-8"))
    complaints = [
        *lock.complaints,
        *compare(lock.pins, installed),
        *compare_extras(lock.pins, found),
    ]
    if not complaints:
        _say(f"lock: {len(lock.pins)} pins with hashes; what is installed is what is locked")
    public = {name: version for name, version in installed.items() if name not in NOT_LOCKED}
    with httpx.Client() as client:
        answer = ask(public, client)
    match answer:
        case Asked(known):
            complaints += [f"known to be vulnerable: {line}" for line in known]
            _say(f"advisories: {len(public)} packages asked about, {len(known)} with findings")
        case NotAsked(why):
            _say(f"advisories: NOT CHECKED, the database could not be asked ({why})")
        case _:
            assert_never(answer)
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(encode_sbom(found, lock.pins), encoding="utf-8")
    _say(f"bill of materials: {SBOM}")
    for complaint in complaints:
        _say(f"audit: {complaint}")
    return 1 if complaints else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
