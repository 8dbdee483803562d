"""The table in docs/settings.md: `.venv/bin/python -m tests.docs.settings_table` prints it."""

import sys

from q2v.commands import COMMANDS
from q2v.options import taken_by
from q2v.output.terminal import write_text
from q2v.settings import SETTINGS, Setting

TAKEN = {
    command: {setting.key for setting in taken_by(command)}
    for command in COMMANDS
    if command != "sandbox"
}


def docs_table() -> str:
    """All settings as a Markdown table; the documentation holds exactly these lines."""
    lines = [
        "| toml | environment | flag | default | meaning | read by |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in map(_cells, SETTINGS)]
    return "\n".join(lines) + "\n"


def _cells(setting: Setting) -> tuple[str, ...]:
    environment = f"`{setting.environment}`" if setting.environment else "-"
    if setting.is_secret:
        environment += f", `{setting.environment}_FILE`"
    meaning, expected = setting.meaning, setting.rule.expected
    if setting.is_secret or setting.rule.words or setting.rule.native not in {str, list}:
        meaning += f" {expected[0].upper()}{expected[1:]}."
    return (
        f"`{setting.file_key}`" if setting.file_key else "-",
        environment,
        f"`{setting.flag}`" if setting.flag else "-",
        setting.show(setting.default),
        meaning,
        ", ".join(command for command, keys in TAKEN.items() if setting.key in keys),
    )


if __name__ == "__main__":
    write_text(sys.stdout, docs_table())
