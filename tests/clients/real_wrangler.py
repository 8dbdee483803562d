"""The real wrangler, as an operator runs it: a line in a shell, in a folder, with a token."""

import json
import os
from pathlib import Path

from sandbox.server import RunningSandbox
from tests.harness.running.node import COMPILED, installed, node_program
from tests.harness.running.programs import run_program
from tests.harness.running.workspace import Result

_TIMEOUT_S = 300  # a start takes two seconds, on a busy machine many more


class Shell:
    """A shell whose `wrangler` is the real one; all it writes is below `folder`.

    But for the code that Node.js compiled, which every start uses again.
    """

    def __init__(self, folder: Path, sandbox: RunningSandbox) -> None:
        tools = folder / "bin"
        write_wrangler(tools)
        self._folder = folder
        self._environment = {
            "PATH": f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "home"),
            "TMPDIR": str(folder),
            "CI": "1",
            "NODE_COMPILE_CACHE": str(COMPILED),
            "WRANGLER_SEND_METRICS": "false",
            "CLOUDFLARE_API_BASE_URL": sandbox.base_url,
            "CLOUDFLARE_API_TOKEN": sandbox.api_token,
            "CLOUDFLARE_ACCOUNT_ID": sandbox.account_id,
        }

    def run(
        self, line: str, *, within: Path | None = None, stdin: str = "", **environment: str
    ) -> Result:
        """One line, as it is pasted; an environment variable set to nothing is left out."""
        variables = {**self._environment, **environment}
        done = run_program(
            *("/bin/bash", "-c", line),
            cwd=within or self._folder,
            env={name: value for name, value in variables.items() if value},
            given=stdin,
            timeout_s=_TIMEOUT_S,
        )
        return Result(done.returncode, done.stdout, done.stderr)


def write_wrangler(folder: Path) -> Path:
    """A program `wrangler` in a new folder, which starts the installed one."""
    node, script = node_program(), installed("wrangler", "bin", "wrangler.js")
    folder.mkdir(parents=True)
    program = folder / "wrangler"
    program.write_text(f'#!/bin/sh\nexec "{node}" "{script}" "$@"\n')
    program.chmod(0o700)
    return program


def as_worker(folder: Path, name: str, file: str, bindings: str) -> Path:
    """A Worker's folder with these bindings in its configuration."""
    folder.mkdir(parents=True)
    (folder / "worker.js").write_text("export default { fetch() { return new Response('') } }\n")
    members = {"name": name, "main": "worker.js", "compatibility_date": "2026-11-01"}
    if file == "wrangler.jsonc":
        text = json.dumps({**members, **json.loads(bindings)})
    else:
        text = "".join(f'{member} = "{value}"\n' for member, value in members.items()) + bindings
    (folder / file).write_text(text)
    return folder
