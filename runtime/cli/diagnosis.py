"""From what an examination found to what is to be said about it: pure, each finding with what to do."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from perdure.runtime.cli.render import ago, size
from perdure.store.records import PAGE_MAX, Runner
from perdure.store.scripts.resting import Bounds, Resting, Work
from perdure.store.sqlite.health import Health
from perdure.store.states import State

TAKING_UP_MS: Final = 60_000  # four sweeps of a worker: what nobody has taken up by then stays
DAY_MS: Final = 86_400_000  # a pause that somebody still remembers is shorter
WAL_BYTES_MAX: Final = 256 * 1024 * 1024  # a log is written back every 4 MB unless something is in the way
STORE_BYTES_MAX: Final = 10 * 1024**3  # a copy takes minutes, a vacuum as much room again
FREE_BYTES_MAX: Final = 64 * 1024**2  # less is not worth a word
FREE_SHARE_MAX: Final = 0.25  # of the file: less is used again soon
IDS_MAX: Final = 5  # executions named in one finding; --format json has them all
WORKERS: Final = frozenset({"embedded", "worker"})  # kinds of runners that take up what they find
# The command that goes on, in its own process, with an execution in that state; with any other: resume.
GOING_ON: Final = {State.CANCELLING.value: "cancel", State.COMPENSATING.value: "rollback"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth saying; `attention` needs somebody, a `note` is good to know."""

    severity: Literal["attention", "note"]
    topic: str
    text: str
    advice: str
    executions: tuple[str, ...] = ()


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What the file itself cannot tell."""

    now: datetime
    is_alive: Callable[[Runner], bool]
    missing: Mapping[str, Sequence[str]] | None
    """Code that executions nobody works on lack here, where it was looked for."""
    library_advice: Sequence[str]


def bounds(now_ms: int) -> Bounds:
    """How long what may rest before it is worth a word."""
    return Bounds(
        unclaimed=now_ms - TAKING_UP_MS,
        overdue=now_ms - TAKING_UP_MS,
        unanswered=now_ms - TAKING_UP_MS,
        paused=now_ms - DAY_MS,
    )


def diagnose(health: Health, circumstances: Circumstances) -> list[Finding]:
    """Everything to be said, the worst first."""
    found = [*_lock(health), *_file(health)]
    if health.work is not None:
        found += stuck(health.work, health.runners, circumstances)
    found += [
        Finding(severity="note", topic="sqlite", text=text, advice="install a newer SQLite for this Python")
        for text in circumstances.library_advice
    ]
    return sorted(found, key=lambda finding: finding.severity != "attention")


def stuck(work: Work, runners: Sequence[Runner], circumstances: Circumstances) -> list[Finding]:
    """What is said of executions and schedules, wherever they are kept."""
    alive = [runner for runner in runners if circumstances.is_alive(runner)]
    return [
        *_owners(work, runners, alive),
        *_waiting(work, alive, circumstances),
        *_set_aside(work, circumstances.now),
        *_schedules(work, circumstances),
        *_webhooks(work, circumstances),
    ]


def _lock(health: Health) -> Iterator[Finding]:
    """Somebody keeps all others from writing."""
    if health.is_locked:
        who = "a process" if health.locked_by is None else f"process {health.locked_by}"
        yield attention(
            "lock",
            f"{who} holds the write lock for longer than a write would wait: nothing can go on meanwhile",
            "wait for it, or end it if it hangs: what it began is undone",
        )


def _file(health: Health) -> Iterator[Finding]:
    for sentence in health.damage:
        yield attention("integrity", sentence, _repair(sentence))
    if health.names > 1:
        yield attention(
            "file",
            f"the file has {health.names} names, as after a restore that was cut short: "
            "used under two of them at once, it is damaged",
            f"look for {health.path}.before-restore-* and remove the one of the same size and time",
        )
    if health.wal_bytes > WAL_BYTES_MAX:
        yield attention(
            "size",
            f"the log beside the file has grown to {size(health.wal_bytes)}",
            "end whatever keeps reading for long (a backup, a shell in a transaction); "
            "if only clients are running, start `perdure worker`",
        )
    if health.size_bytes > STORE_BYTES_MAX:
        yield attention(
            "size",
            f"the file has grown to {size(health.size_bytes)}",
            "`perdure prune --older-than 30d --dry-run` tells what could go; set `retention` for a worker to "
            "do it by itself",
        )
    if health.free_bytes > max(FREE_BYTES_MAX, health.size_bytes * FREE_SHARE_MAX):
        yield Finding(
            severity="note",
            topic="size",
            text=f"{size(health.free_bytes)} of the file are free, for what comes next to be written to",
            advice="`perdure prune --vacuum` gives them back to the disk; nobody else can write meanwhile",
        )
    if health.schema_version is not None and health.schema_version < health.schema_known:
        yield Finding(
            severity="note",
            topic="schema",
            text=f"the schema is version {health.schema_version}, this release has {health.schema_known}; "
            "only the file itself was examined",
            advice="the next command that changes something brings it up to date, "
            f"and keeps {health.path}.before-{health.schema_version + 1}",
        )
    if not health.is_private:
        yield Finding(
            severity="note",
            topic="file",
            text="others on this machine may read the file, with all contexts and outputs in it",
            advice=f"chmod 600 {health.path}",
        )


def _repair(sentence: str) -> str:
    if "damaged" in sentence:
        return "stop what runs on it and `perdure restore-db` the newest backup; what is there is kept"
    return "this is a fault of perdure or of a hand: keep a `perdure backup`, and report it"


def _owners(work: Work, runners: Sequence[Runner], alive: Sequence[Runner]) -> Iterator[Finding]:
    """Executions whose process has died."""
    living = {runner.id for runner in alive}
    for runner in runners:
        mine = [each for each in work.owned if each.runner == runner.id]
        if runner.id not in living and mine:
            yield attention(
                "owner",
                f"{_many(mine)} owned by process {runner.pid} ({runner.kind} on {runner.host}): it is dead",
                f"`perdure worker` takes over what it can perform, {_one_by_one(mine)} one of them",
                mine,
            )


def _waiting(work: Work, alive: Sequence[Runner], circumstances: Circumstances) -> Iterator[Finding]:
    """Executions that have something to do and nobody who does it."""
    worker = next((runner for runner in alive if runner.kind in WORKERS), None)
    yield from _unclaimed(work, worker, circumstances.missing or {})
    told = len(work.unclaimed) + len(work.overdue)
    left = work.unattended - told - _attending(work, alive)
    if worker is None and left > 0:
        more = " more" if told else ""
        yield attention(
            "idle",
            f"{left}{more} unfinished, and no process is there that would go on with them",
            "`perdure worker`, or start your program again",
        )
    if work.overdue:
        first = min(each.since for each in work.overdue)
        yield attention(
            "timer",
            f"{_many(work.overdue)} overdue: the first should have been woken {_ago(first, circumstances)}",
            f"`perdure worker{_agents_of(work.overdue)}`",
            work.overdue,
        )
    if work.unanswered:
        first = min(each.since for each in work.unanswered)
        yield attention(
            "command",
            f"{_many(work.unanswered)} without an answer to a command of {_ago(first, circumstances)}",
            "if a process has it, it hangs: look at its log; else `perdure worker`, "
            f"or {_one_by_one(work.unanswered)}",
            work.unanswered,
        )


def _attending(work: Work, alive: Sequence[Runner]) -> int:
    """How many executions that nobody owns are waited for, each by a `perdure run` of its own.

    Such a process owns nothing while its execution queues, or only waits, and goes on with it then.
    """
    return len(waiting_runs(alive, owners={each.runner for each in work.owned}))


def waiting_runs(alive: Sequence[Runner], *, owners: Container[str | None]) -> list[Runner]:
    """Each `perdure run` that owns nothing now, and so waits for an execution that nobody owns."""
    return [runner for runner in alive if runner.kind == "run" and runner.id not in owners]


def going_on(state: str) -> str:
    """The command that goes on with an execution in that state."""
    return GOING_ON.get(state, "resume")


def _unclaimed(work: Work, worker: Runner | None, missing: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Executions that anybody could take up, of each workflow together, and why nobody does."""
    alike: dict[tuple[int, tuple[str, ...]], list[Resting]] = {}
    for each in work.unclaimed:
        lacks = tuple(missing.get(each.execution_id, ()))
        alike.setdefault((each.workflow_no, lacks), []).append(each)
    for (_, lacks), mine in alike.items():
        if lacks:
            yield attention(
                "code",
                f"{_many(mine)} waiting for code ({mine[0].workflow}): {', '.join(lacks)}",
                "start a worker that has it: `perdure worker --agents module:registry`; where a function has "
                "changed: the old one, a default for its new parameter, or `perdure migrate ID --to VERSION`",
                mine,
            )
        elif worker is not None:
            yield attention(
                "code",
                f"{_many(mine)} not taken up ({mine[0].workflow}) although process {worker.pid} "
                f"({worker.kind}) looks for work: probably code or agents are missing there, or it is full",
                _look_for_code(mine),
                mine,
            )
        else:
            yield attention(
                "idle",
                f"{_many(mine)} unfinished ({mine[0].workflow}) and nobody works on it",
                f"`perdure worker{_agents_of(mine)}`, or {_one_by_one(mine)}",
                mine,
            )


def _set_aside(work: Work, now: datetime) -> Iterator[Finding]:
    """Executions that rest until a person decides."""
    if work.quarantined:
        yield attention(
            "quarantine",
            f"{_many(work.quarantined)} set aside after repeated crashes of what runs it",
            "`perdure events ID` tells why; `perdure resume ID` tries anew",
            work.quarantined,
        )
    if work.paused:
        first = min(each.since for each in work.paused)
        yield attention(
            "paused",
            f"{_many(work.paused)} paused for more than a day, the first since {ago(first, now=now)}",
            "`perdure resume ID` goes on, `perdure cancel ID` ends it",
            work.paused,
        )


def _schedules(work: Work, circumstances: Circumstances) -> Iterator[Finding]:
    """Schedules that start nothing."""
    for each in work.stalled:
        what = f"schedule {each.schedule} ({each.workflow})"
        if each.is_orphaned:
            yield attention(
                "schedule",
                f"{what} starts nothing: no such workflow is published",
                f"publish it again, or `perdure schedule rm {each.schedule}`",
            )
        elif each.refusal is not None:
            yield attention(
                "schedule",
                f"{what}: its last start was refused: {each.refusal}",
                f"`perdure schedule history {each.schedule}` has them all; "
                "`perdure schedule add` gives it another input",
            )
        elif each.due_at is not None:
            yield attention(
                "schedule",
                f"{what} is overdue: it should have been looked at {_ago(each.due_at, circumstances)}",
                "`perdure worker` keeps it; if one runs, its log says why it does not",
            )


def _webhooks(work: Work, circumstances: Circumstances) -> Iterator[Finding]:
    """Calls of webhooks that nobody makes."""
    if work.undelivered_since is not None:
        what = (
            "1 call of a webhook is"
            if work.undelivered == 1
            else f"{work.undelivered:,} calls of webhooks are"
        )
        yield attention(
            "webhook",
            f"{what} overdue: the first should have been made {_ago(work.undelivered_since, circumstances)}",
            "`perdure worker` makes them; `perdure webhooks --state pending` lists them",
        )


def attention(topic: str, text: str, advice: str, executions: Sequence[Resting] = ()) -> Finding:
    """Something for somebody to do."""
    return Finding(
        severity="attention",
        topic=topic,
        text=text,
        advice=advice,
        executions=tuple(each.execution_id for each in executions),
    )


def _many(executions: Sequence[Resting]) -> str:
    """The subject of a sentence, with its verb."""
    if len(executions) == 1:
        return "1 execution is"
    more = " or more" if len(executions) >= PAGE_MAX else ""
    return f"{len(executions):,}{more} executions are"


def _one_by_one(executions: Sequence[Resting]) -> str:
    """The commands that go on with one of these, each by its id."""
    return " or ".join(sorted({f"`perdure {going_on(each.state)} ID`" for each in executions}))


def _ago(at: datetime, circumstances: Circumstances) -> str:
    return ago(at, now=circumstances.now)


def _agents_of(executions: Sequence[Resting]) -> str:
    """The option that names the agents they were started with, if they say."""
    named = next((each.agents for each in executions if each.agents is not None), None)
    return "" if named is None else f" --agents {named}"


def _look_for_code(executions: Sequence[Resting]) -> str:
    option = _agents_of(executions)
    return (
        f"its log says `waiting_for_code`; `perdure doctor{option or ' --agents module:registry'}` names it"
    )
