"""Workers of one account: their versions, deployments and names of secrets; no code, no values."""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.database import Database
from sandbox.errors import (
    invalid_script_request,
    script_not_found,
    secrets_changed,
    version_not_found,
)

DEPLOYMENTS_SHOWN = 10
_WHOLE = 100
_SECRET_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a Worker; it never changes."""

    version_id: str
    number: int  # 1-based per Worker
    created_at: float
    source: str
    message: str | None
    secrets: Mapping[str, int]  # name -> the version that set it


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Which versions get which share of the requests."""

    deployment_id: str
    created_at: float
    source: str
    message: str | None
    versions: Mapping[str, int]  # version id -> percent; sums to 100


class Scripts:
    """The account's Workers by name. The caller holds the lock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def upload(self, name: str, *, source: str = "wrangler", message: str | None = None) -> Version:
        """Take new code as a version, which gets all requests; an absent Worker is made."""
        known = self.versions(name)
        secrets = known[0].secrets if known else {}
        with self._database.transaction():
            version = self._append(name, len(known) + 1, secrets, source, message)
            self._deploy(name, {version.version_id: _WHOLE}, source, message)
        return version

    def put_secret(self, name: str, secret: object) -> None:
        """Set a secret: a new version, which gets all requests at once."""
        if not isinstance(secret, str) or not _SECRET_NAME.fullmatch(secret):
            raise invalid_script_request("the name of a secret is that of a variable")
        number = self._latest(name).number + 1
        self._change_secrets(name, {**self._latest(name).secrets, secret: number})

    def delete_secret(self, name: str, secret: str) -> None:
        """Forget a secret. Raises ServiceError without it."""
        secrets = dict(self._latest(name).secrets)
        if secrets.pop(secret, None) is None:
            raise invalid_script_request(f"no secret {secret!r}")
        self._change_secrets(name, secrets)

    def delete(self, name: str) -> None:
        """Forget a Worker. Raises ServiceError for an absent one."""
        self._latest(name)
        with self._database.transaction():
            execute = self._database.connection.execute
            execute("DELETE FROM script_versions WHERE script = ?", (name,))
            execute("DELETE FROM script_deployments WHERE script = ?", (name,))

    def secrets(self, name: str) -> list[str]:
        """Their names, sorted. Raises ServiceError for an absent Worker."""
        return sorted(self._latest(name).secrets)

    def _change_secrets(self, name: str, secrets: Mapping[str, int]) -> None:
        number = self._latest(name).number + 1
        with self._database.transaction():
            version = self._append(name, number, secrets, "secret", None)
            self._deploy(name, {version.version_id: _WHOLE}, "secret", None)

    def deploy(
        self, name: str, versions: Mapping[str, int], *, message: str | None, force: bool
    ) -> Deployment:
        """Share the requests out among versions.

        Raises ServiceError for an absent version, shares that do not sum to 100, and, without
        `force`, when a secret has changed since one of the versions.
        """
        if sum(versions.values()) != _WHOLE or min(versions.values()) < 0:
            raise invalid_script_request("percentages must add up to 100")
        latest = self._latest(name).secrets
        changed: set[str] = set()
        for version_id in versions:
            former = self.version(name, version_id).secrets
            names = {*latest, *former}
            changed |= {one for one in names if latest.get(one) != former.get(one)}
        if changed and not force:
            raise secrets_changed(sorted(changed))
        with self._database.transaction():
            return self._deploy(name, versions, "wrangler", message)

    def versions(self, name: str) -> list[Version]:
        """All of them, newest first; none for an absent Worker."""
        rows = self._database.connection.execute(
            "SELECT version_id, created_at, source, message, secrets FROM script_versions "
            "WHERE script = ? ORDER BY seq DESC",
            (name,),
        ).fetchall()
        return [
            Version(
                version_id=version_id,
                number=len(rows) - place,
                created_at=created_at,
                source=source,
                message=message,
                secrets=json.loads(secrets),
            )
            for place, (version_id, created_at, source, message, secrets) in enumerate(rows)
        ]

    def version(self, name: str, version_id: str) -> Version:
        """One version. Raises ServiceError without it."""
        self._latest(name)
        for version in self.versions(name):
            if version.version_id == version_id:
                return version
        raise version_not_found()

    def deployments(self, name: str) -> Sequence[Deployment]:
        """The last ten, newest first. Raises ServiceError for an absent Worker."""
        self._latest(name)
        rows = self._database.connection.execute(
            "SELECT deployment_id, created_at, source, message, versions FROM script_deployments "
            "WHERE script = ? ORDER BY seq DESC LIMIT ?",
            (name, DEPLOYMENTS_SHOWN),
        )
        return [
            Deployment(
                deployment_id=deployment_id,
                created_at=created_at,
                source=source,
                message=message,
                versions=json.loads(versions),
            )
            for deployment_id, created_at, source, message, versions in rows
        ]

    def _latest(self, name: str) -> Version:
        versions = self.versions(name)
        if not versions:
            raise script_not_found()
        return versions[0]

    def _append(
        self,
        name: str,
        number: int,
        secrets: Mapping[str, int],
        source: str,
        message: str | None,
    ) -> Version:
        version = Version(
            version_id=str(uuid.uuid4()),
            number=number,
            created_at=self._clock.now(),
            source=source,
            message=message,
            secrets=secrets,
        )
        self._database.connection.execute(
            "INSERT INTO script_versions "
            "(version_id, script, created_at, source, message, secrets) VALUES (?,?,?,?,?,?)",
            (version.version_id, name, version.created_at, source, message, json.dumps(secrets)),
        )
        return version

    def _deploy(
        self, name: str, versions: Mapping[str, int], source: str, message: str | None
    ) -> Deployment:
        deployment = Deployment(
            deployment_id=str(uuid.uuid4()),
            created_at=self._clock.now(),
            source=source,
            message=message,
            versions=dict(versions),
        )
        self._database.connection.execute(
            "INSERT INTO script_deployments "
            "(deployment_id, script, created_at, source, message, versions) VALUES (?,?,?,?,?,?)",
            (
                deployment.deployment_id,
                name,
                deployment.created_at,
                source,
                message,
                json.dumps(deployment.versions),
            ),
        )
        return deployment
