"""The verifier of the repository in the real `workerd`, in front of the sandbox."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.errors import PreconditionError
from rehearsal.context import INDEX
from sandbox.server import RunningSandbox

WORKER = Path(__file__).parents[1] / "worker"
VERIFIER_KEY = "rehearsal-verifier-key-7c1e5a90d3"
END_S_MAX = 30.0


def check_runtime() -> None:
    """Raise PreconditionError that names what is missing to run a Worker."""
    missing = [
        name
        for name, is_there in (
            ("Node.js", _node() is not None),
            ("the folder worker/ of the repository", (WORKER / "kit" / "serve.ts").is_file()),
            ("workerd", (WORKER / "node_modules" / "workerd").is_dir()),
            ("esbuild", (WORKER / "node_modules" / "esbuild").is_dir()),
        )
        if not is_there
    ]
    if missing:
        raise PreconditionError(
            f"--worker runs the verifier in workerd, and this is missing: {', '.join(missing)}",
            remedy="in the repository, with npm, run `make worker/node_modules/.installed`; or "
            "rehearse without --worker",
        )


def _node() -> Path | None:
    """The Node.js that is installed with workerd, or else the machine's own."""
    pinned = next((WORKER / "node_modules").glob("node-linux-*/bin/node"), None)
    own = shutil.which("node")
    return pinned or (None if own is None else Path(own))


@contextmanager
def running_verifier(sandbox: RunningSandbox) -> Iterator[str]:
    """Run it, bound to the rehearsal's index, while the block runs; its address."""
    check_runtime()
    order = {
        "worker": {
            "main": str(WORKER / "src" / "verifier" / "worker.ts"),
            "vectorize": {"VECTORIZE_INDEX": INDEX},
            "vars": {
                "Q2V_VERIFIER_KEY": VERIFIER_KEY,
                "VECTORIZE_INDEXES": {INDEX: "VECTORIZE_INDEX"},
            },
        },
        "sandbox": {
            "base_url": sandbox.base_url,
            "account_id": sandbox.account_id,
            "api_token": sandbox.api_token,
        },
    }
    with subprocess.Popen(  # noqa: S603 - our own command
        [str(_node()), str(WORKER / "kit" / "serve.ts")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        try:
            launcher.stdin.write(json.dumps(order) + "\n")
            launcher.stdin.flush()
            line = launcher.stdout.readline()
            if not line:
                raise PreconditionError(
                    f"workerd did not start: {_last_words(launcher)}",
                    remedy="run `make worker-test` to see what is wrong with the installation",
                )
            yield str(json.loads(line)["url"])
        finally:
            launcher.stdin.close()  # the launcher ends workerd, then itself
            launcher.wait(END_S_MAX)


def _last_words(launcher: "subprocess.Popen[str]") -> str:
    assert launcher.stderr is not None
    lines = launcher.stderr.read().strip().splitlines()
    return lines[-1] if lines else "without a word"
