"""The steps from a week before the cutover to a week after it, as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from q2v.runbook.figures import Figures, Names

OPERATOR = "operator"
WORKER = "Worker engineer"
DECIDES = "operator and owner of the service"


@dataclass(frozen=True, slots=True)
class Trouble:
    """How a command ends when something is likely to be wrong."""

    exit_code: int
    cause: str  # and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the timeline."""

    name: str  # of letters and dashes, unique
    when: str  # T is the begin of the freeze
    day: float  # of its phase, from T; steps of one phase follow each other
    title: str
    who: str
    argv: tuple[tuple[str, ...], ...] = ()  # commands of q2v, without `q2v`; run in this order
    exits: tuple[int, ...] = (0,)  # that are expected of each of them
    others: tuple[str, ...] = ()  # commands of other programs, to be run in the Worker's folder
    does: str = ""  # one or two sentences
    sees: str
    trouble: Trouble | None = None  # samples.txt shows it
    abort: str
    undo: str
    minutes: Callable[[Figures], float | None] = lambda _: None  # None: depends on people
    is_decision: bool = False  # go or no-go


def steps(names: Names, until: str) -> Sequence[Step]:
    """All steps in order; `until` is the end of the window, as `q2v gate --until` takes it."""
    index = names.vector_index
    free, other = "give target.vector_index a free name", "choose another name"
    if names.indexes:  # the files are divided by these names
        free = other = "delete it if nothing uses it, or give all of target.shards other names"
    return (
        Step(
            name="rehearse",
            when="T-7 days",
            day=-7,
            title="Rehearse on this machine",
            who=OPERATOR,
            argv=(("rehearse",),),
            does="The whole evening, into a local sandbox."
            + (" It rehearses a move into one vector index." if names.indexes else ""),
            sees="a numbered story; every step held",
            abort="a step does not hold: it says why; do not set a date before it does",
            undo="delete build/rehearsal",
            minutes=lambda _: 1.5,
        ),
        Step(
            name="plan",
            when="T-7 days",
            day=-7,
            title="See what moves and what does not",
            who=OPERATOR,
            argv=(("plan",),),
            does="Asks the target, then reads every point of the source; writes nothing.",
            sees="a verdict in words; points, requests, minutes, cost, the time of a rollback",
            trouble=Trouble(
                5,
                f"an index of that name has another shape: {free}",
            ),
            abort="exit 5: something does not fit; exit 3: too many points cannot move",
            undo="nothing to undo",
            minutes=lambda figures: (figures.read_once + 1) * figures.indexes,
        ),
        Step(
            name="provision",
            when="T-7 days",
            day=-7,
            title="Create the index and the namespaces",
            who=OPERATOR,
            argv=(("provision",),),
            does="A fresh index and fresh namespaces, which nothing uses yet. With --wrangler FILE "
            "it also puts the bindings into the Worker's file.",
            sees="the namespace ids: put the first into target.kv_namespace_id",
            trouble=Trouble(5, f"as in the plan, and nothing has been created: {other}"),
            abort=f"exit 5: something of that name has another shape; {other}",
            undo=f"`wrangler vectorize delete {index}`",
            minutes=lambda figures: figures.indexes,
        ),
        Step(
            name="snapshot-moving",
            when="T-1 day",
            day=-1,
            title="A first snapshot, while others write",
            who=OPERATOR,
            argv=(("snapshot", "--moving"),),
            does="Each point as it was when it was read. It proves nothing yet, and need not.",
            sees="the path of the snapshot and its content root: note it in the ticket",
            trouble=Trouble(
                6, "the key of Qdrant is not accepted: put the right one into QDRANT_API_KEY"
            ),
            abort="exit 5: it cannot be read whole; the message names the shard or point",
            undo="delete the folder of the snapshot",
            minutes=lambda figures: figures.read_once,
        ),
        Step(
            name="migrate",
            when="T-1 day",
            day=-1,
            title="Move it",
            who=OPERATOR,
            argv=(("migrate",),),
            does="Pre-images, vectors, the KV index, the counter. Readers still use Qdrant.",
            sees="all vectors acknowledged and processed",
            trouble=Trouble(
                13,
                "the service has taken the vectors and does not show them yet: run the same "
                "command again, which sends nothing twice",
            ),
            abort="exit 3 or 5: see the message; no reader uses the target yet, so there is time",
            undo="`q2v rollback --execute`",
            minutes=lambda figures: figures.upload,
        ),
        Step(
            name="catch-up",
            when="T-1 day, and again an hour before the freeze",
            day=-1,
            title="Catch up, while others write",
            who=OPERATOR,
            argv=(("catch-up",),),
            does="What was added, changed and deleted since. Each one takes less time. On a slow "
            "line `q2v catch-up --payload-only` reads vectors only where the payload changed.",
            sees="how many points were added, changed and deleted",
            trouble=Trouble(5, "too many points are gone: is this the right source?"),
            abort='exit 5 "would delete": is it the right source?',
            undo="`q2v rollback --execute` undoes the whole chain",
            minutes=lambda figures: figures.catch_up,
        ),
        Step(
            name="freeze",
            when="T",
            day=0,
            title="Freeze the writers",
            who=WORKER,
            does="Stop the writers, and take their keys to Qdrant away. Search still works.",
            sees="no write in Qdrant's log",
            abort="a writer cannot be stopped: no cutover today",
            undo="give the keys back and start the writers",
            minutes=lambda _: None,
        ),
        Step(
            name="catch-up-frozen",
            when="T",
            day=0,
            title="The last catch-up, which proves the freeze",
            who=OPERATOR,
            argv=(("catch-up", "--frozen"),),
            does="Reads everything twice.",
            sees="the target holds what the source holds",
            trouble=Trouble(
                5,
                "a writer still writes: find it and take its key away, then the same command again",
            ),
            abort='exit 5 "the source keeps changing": the freeze is not one; find the writer',
            undo="`q2v rollback --execute`",
            minutes=lambda figures: figures.last_catch_up,
        ),
        Step(
            name="reconcile",
            when="T",
            day=0,
            title="Compare everything",
            who=OPERATOR,
            argv=(("reconcile",),),
            does="Source x snapshot x vector index x KV index x counter.",
            sees="verdict equal, at the coverage that is printed",
            trouble=Trouble(
                4,
                "another program has deleted a vector: run `q2v migrate`, which writes it again, "
                "then this step again",
            ),
            abort="exit 4: `q2v status` says what comes next; exit 13: run it again",
            undo="nothing to undo",
            minutes=lambda figures: figures.reconcile,
        ),
        Step(
            name="gate",
            when="T",
            day=0,
            title="Go or no-go",
            who=DECIDES,
            argv=(("gate", "--until", until),),
            does="Thirteen rows of evidence, and below them what only people can see. With "
            "`q2v gate --until TIME --worker-version VERSION` (the version that runs now, by "
            "`wrangler deployments list`) the way back names that version.",
            sees="go",
            trouble=Trouble(4, "each row that does not pass says what to do"),
            abort="anything else than go, or a no to what only people can see: take the way back",
            undo="nothing to undo",
            minutes=lambda figures: figures.gate,
            is_decision=True,
        ),
        Step(
            name="cutover",
            when="T, after go",
            day=0,
            title="Switch the Workers",
            who=WORKER,
            others=("wrangler deployments list", "wrangler deploy"),
            does="With the bindings of `q2v provision`, and the plan's dimensions in every "
            "embedding call.",
            sees="the new version takes all requests; searches answer",
            abort="errors or empty answers: take the way back within the hour",
            undo="`wrangler rollback VERSION`, with the version that ran before, then the way back "
            "below",
            minutes=lambda _: None,
        ),
        Step(
            name="monitor",
            when="T+15 minutes, then every hour for a week",
            day=0,
            title="Watch the target",
            who=OPERATOR,
            argv=(("monitor",),),
            does="The parts of the target against each other. Cron or a timer repeats it.",
            sees="consistent",
            trouble=Trouble(
                4, "a Worker stopped between two writes: sync the files that are named"
            ),
            abort="exit 4 that stays after the files named were synced again: take the way back",
            undo="nothing to undo",
            minutes=lambda figures: figures.look,
        ),
        Step(
            name="archive",
            when="T+7 days",
            day=7,
            title="Keep the evidence",
            who=OPERATOR,
            argv=(("archive",),),
            does="One file with snapshots, runs, reports and how to read them in ten years.",
            sees="the file and its SHA-256: note it in the ticket",
            trouble=Trouble(5, "the run is not proven: the message says what is missing"),
            abort="exit 5: the chain is not final; the message says what is missing",
            undo="delete the file",
            minutes=lambda figures: figures.read_once,
        ),
        Step(
            name="decommission",
            when="T+7 days",
            day=7,
            title="Take Qdrant away",
            who=DECIDES,
            argv=(("decommission",),),
            does="A checklist. Delete nothing of Qdrant before it says done.",
            sees="done, and the commands for the secrets",
            trouble=Trouble(5, "a line is unproven, and says what to do"),
            abort="anything unproven: leave Qdrant for another week",
            undo="`q2v restore SNAPSHOT`, from the snapshot or the archive",
            minutes=lambda figures: figures.indexes,
            is_decision=True,
        ),
    )


def way_back(names: Names) -> Sequence[Step]:
    """The steps of an abort after the first write, in order."""
    return (
        Step(
            name="back-readers",
            when="at any time after the first write",
            day=0,
            title="Readers back to Qdrant",
            who=WORKER,
            others=(
                "wrangler deployments list",
                "wrangler versions list",
                "wrangler rollback VERSION --message=back --yes",
            ),
            does="Only after a cutover. VERSION is the one that ran before it; `q2v rollback` "
            "prints it when the gate has recorded it. Each secret that was put made a version "
            "too. Writers get their keys back when the rollback is complete.",
            sees="the former version takes all requests",
            abort="-",
            undo="deploy the new version again",
        ),
        Step(
            name="back-preview",
            when="then",
            day=0,
            title="See what would be undone",
            who=OPERATOR,
            argv=(("rollback",),),
            does="Sends nothing.",
            sees="vectors and keys to be deleted and put back, and the time",
            trouble=Trouble(12, "the settings name another target than the run"),
            abort=f"it takes longer than there is: leave {names.vector_index} as it is",
            undo="nothing to undo",
            minutes=lambda _: 1,
        ),
        Step(
            name="back-export",
            when="then",
            day=0,
            title="Keep what the new side wrote",
            who=OPERATOR,
            argv=(("rollback", "--export-later-writes"),),
            does="Only after a cutover, with its writers stopped. Reads, and writes to this disk.",
            sees="vectors added, changed and deleted; whether they return to Qdrant",
            abort="no time: `q2v rollback --execute --leave-later-writes` first, then this",
            undo="nothing to undo",
            minutes=lambda figures: figures.compare_full,
        ),
        Step(
            name="back-execute",
            when="then",
            day=0,
            title="Undo it",
            who=OPERATOR,
            argv=(("rollback", "--execute"),),
            does="The whole chain. What the new side has accepted since is named before.",
            sees="vectors deleted and put back; no conflict",
            trouble=Trouble(5, "the new side has written: take the step before this one"),
            abort="exit 4: another writer changed something; it is kept and named",
            undo="begin again at the step `migrate`",
            minutes=lambda figures: figures.rollback,
        ),
    )
