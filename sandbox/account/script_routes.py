"""Routes of Workers, as far as the commands around a migration ask: secrets and deployments."""

from typing import Any

from starlette.responses import Response

from sandbox.account.scripts import Deployment, Version
from sandbox.errors import invalid_script_request
from sandbox.exchange.answers import success, timestamp
from sandbox.exchange.operation import Call, Operation
from sandbox.limits import BODY_BYTES_MAX
from sandbox.store import SandboxStore

_WORKERS = "accounts/{account}/workers"
_SCRIPT = _WORKERS + "/scripts/{script}"
EMAIL = "operator@example.com"


class ScriptRoutes:
    """One method per operation."""

    def __init__(self, store: SandboxStore) -> None:
        self._scripts = store.scripts

    def routes(self) -> list[Operation]:
        """All of them."""
        secrets, deployments = _SCRIPT + "/secrets", _SCRIPT + "/deployments"
        return [
            Operation("PUT", _SCRIPT, self.upload, body_bytes_max=BODY_BYTES_MAX),
            Operation("GET", secrets, self.list_secrets),
            Operation("PUT", secrets, self.put_secret),
            Operation("DELETE", secrets + "/{secret}", self.delete_secret),
            Operation("GET", _SCRIPT + "/versions", self.list_versions),
            Operation("GET", _SCRIPT + "/versions/{version}", self.get_version),
            Operation("GET", deployments, self.list_deployments),
            Operation("POST", deployments, self.deploy),
            # What wrangler asks before it deletes a Worker, and the deletion.
            Operation("GET", _SCRIPT + "/references", self.list_references),
            Operation("GET", _WORKERS + "/tails/by-consumer/{script}", self.list_tails),
            Operation("DELETE", _WORKERS + "/services/{script}", self.delete),
        ]

    def upload(self, call: Call, name: str) -> Response:
        """Take code, whatever it is: it is never run, and not kept."""
        if call.content_type != "multipart/form-data":
            raise invalid_script_request("expected multipart/form-data")
        version = self._scripts.upload(name)
        return success({"id": name, "deployment_id": version.version_id})

    def list_references(self, _: Call, name: str) -> Response:
        """What uses the Worker: nothing here."""
        self._scripts.secrets(name)  # refuses an absent Worker
        return success({"services": {"incoming": [], "outgoing": []}, "durable_objects": []})

    def list_tails(self, _: Call, name: str) -> Response:
        """Workers that send their logs to this one: none here."""
        self._scripts.secrets(name)
        return success([])

    def delete(self, _: Call, name: str) -> Response:
        """Forget the Worker with its versions and secrets."""
        self._scripts.delete(name)
        return success(None)

    def list_secrets(self, _: Call, name: str) -> Response:
        """The names."""
        return success([_secret_object(one) for one in self._scripts.secrets(name)])

    def put_secret(self, call: Call, name: str) -> Response:
        """Set one; its text is dropped."""
        body = _object(call)
        if body.get("type") != "secret_text" or not isinstance(body.get("text"), str):
            raise invalid_script_request("expected name, text and the type secret_text")
        self._scripts.put_secret(name, body.get("name"))
        return success(_secret_object(str(body["name"])))

    def delete_secret(self, _: Call, name: str, secret: str) -> Response:
        """Forget one."""
        self._scripts.delete_secret(name, secret)
        return success(None)

    def list_versions(self, _: Call, name: str) -> Response:
        """All versions, newest first."""
        self._scripts.secrets(name)  # refuses an absent Worker
        return success({"items": [_version_object(one) for one in self._scripts.versions(name)]})

    def get_version(self, _: Call, name: str, version_id: str) -> Response:
        """One version."""
        return success(_version_object(self._scripts.version(name, version_id)))

    def list_deployments(self, _: Call, name: str) -> Response:
        """The last deployments, newest first."""
        deployments = self._scripts.deployments(name)
        return success({"deployments": [_deployment_object(one) for one in deployments]})

    def deploy(self, call: Call, name: str) -> Response:
        """Give versions their share of the requests."""
        body = _object(call)
        message = (body.get("annotations") or {}).get("workers/message")
        deployment = self._scripts.deploy(
            name,
            _shares(body.get("versions")),
            message=None if message is None else str(message),
            force=call.parameters.get("force") == "true",
        )
        return success(_deployment_object(deployment))


def _object(call: Call) -> dict[str, Any]:
    refusal = invalid_script_request("could not parse the request body")
    body = call.json(refusal)
    if not isinstance(body, dict) or not isinstance(body.get("annotations", {}), dict | None):
        raise refusal
    return body


def _shares(versions: object) -> dict[str, int]:
    if not isinstance(versions, list) or not versions:
        raise invalid_script_request("versions must be a non-empty list")
    shares: dict[str, int] = {}
    for one in versions:
        match one:
            case {"version_id": str(version_id), "percentage": int(percentage)}:
                shares[version_id] = percentage
            case _:
                raise invalid_script_request("expected version_id and percentage")
    return shares


def _secret_object(name: str) -> dict[str, Any]:
    return {"name": name, "type": "secret_text"}


def _annotations(message: str | None) -> dict[str, str]:
    return {} if message is None else {"workers/message": message}


def _version_object(version: Version) -> dict[str, Any]:
    created_on = timestamp(version.created_at, "microseconds")
    return {
        "id": version.version_id,
        "number": version.number,
        "metadata": {
            "created_on": created_on,
            "modified_on": created_on,
            "source": version.source,
            "author_email": EMAIL,
        },
        "annotations": _annotations(version.message),
        "resources": {"bindings": [_secret_object(one) for one in sorted(version.secrets)]},
    }


def _deployment_object(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.deployment_id,
        "source": deployment.source,
        "strategy": "percentage",
        "author_email": EMAIL,
        "created_on": timestamp(deployment.created_at, "microseconds"),
        "annotations": _annotations(deployment.message),
        "versions": [
            {"version_id": version_id, "percentage": percentage}
            for version_id, percentage in deployment.versions.items()
        ],
    }
