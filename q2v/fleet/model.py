"""What fleet.toml says, as records."""

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from migrate.cloudflare.client.base_url import account_fingerprint
from migrate.storage.layout import BUDGET
from q2v.fleet.windows import Window
from q2v.settings import Settings

LOGS = "logs"  # the folder of the fleet itself, below its --dir


@dataclass(frozen=True, slots=True)
class Step:
    """A command of q2v with its words, as typed in fleet.toml."""

    words: tuple[str, ...]
    index: str | None = None  # the vector index that it works on, of a move over several

    @property
    def name(self) -> str:
        """What names it in journal, screen and report."""
        text = " ".join(self.words)
        return text if self.index is None else f"{text} [{self.index}]"

    @property
    def command(self) -> str:
        """The command of q2v."""
        return self.words[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One collection into one vector index, or into several."""

    name: str
    config: Path
    config_sha256: str
    settings_sha256: str  # of what the file sets, without its comments and its order
    settings: Settings = field(repr=False)
    directory: Path  # its --dir
    steps: tuple[Step, ...]
    tries: int
    after: tuple[str, ...]  # names of moves that have to be done first
    window: Window | None  # None: at any time
    idle: str = ""  # why it has no steps

    @property
    def indexes(self) -> tuple[str, ...]:
        """The vector indexes that it writes."""
        target = self.settings.target
        return target.shards or tuple(filter(None, [target.vector_index]))

    @property
    def is_sharded(self) -> bool:
        """Whether its files are divided over several indexes, each with a run of its own."""
        return bool(self.settings.target.shards)

    @property
    def account_id(self) -> str:
        """The account whose budget it shares."""
        assert self.settings.target.account_id is not None
        return self.settings.target.account_id

    @property
    def account(self) -> str:
        """The fingerprint of the account, which names it in files and on pages."""
        return account_fingerprint(self.account_id)


class Stage(Enum):
    """What became of a run."""

    STANDS = auto()
    ROLLING_BACK = auto()  # its rollback has begun, or that of the run that it continues from
    ROLLED_BACK = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRun:
    """The newest run into a vector index that has written, as its files say."""

    stage: Stage
    created_s: float  # in seconds since 1970
    conflicts: int = 0  # that its rollback has left
    verdict: str | None = None  # of its newest reconcile


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All moves, and what they share."""

    path: Path
    directory: Path  # of journal, logs, budgets and report
    at_once: int
    pause_s: float
    moves: tuple[Move, ...]
    budgets: dict[str, int]  # by account: requests in five minutes

    def budget_folder(self, move: Move) -> Path:
        """The folder of the request budget of the move's account."""
        return self.directory / BUDGET / move.account

    def unordered(self) -> "Fleet":
        """The same moves without windows and order: for commands that write nothing."""
        return replace(
            self, moves=tuple(replace(move, after=(), window=None) for move in self.moves)
        )
