"""Finds workflows and ended executions by their words; the index is filled from the log, behind all work.

Who writes an execution never writes into the index. `Index` takes the next lines of the log and puts the
executions they belong to into it, as far as those have ended; an execution that goes on has later lines,
which bring it again. So the log's last line that was looked at tells how far the index reaches.

Words are letters and digits, in whatever case. A word that has other characters in it, such as
`order-17`, stands for the words it is made of, in a row; `lam*` for all words that begin so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perdure.store.errors import NotFound
from perdure.store.records import ExecutionSummary, Record, Workflow
from perdure.store.script import Script
from perdure.store.scripts import rows
from perdure.store.states import TERMINAL
from perdure.store.writes import Write

TEXT_CHARS_MAX: Final = 2_000  # of a context and of an error: people search for names, not for documents
DEFINITION_CHARS_MAX: Final = 20_000
WORDS_MAX: Final = 20  # of one search; more is a document and not a search
LATE_MAX: Final = 100  # revisions: a server may commit one after others that have a higher number
WORKFLOWS_MAX: Final = 10  # revisions that one search finds: the newest

NEWEST: Final = 1_000  # executions among which a common word is looked for first: a few milliseconds

DUE_EVENTS: Final = 500  # lines of the log that are worth a write, whatever they are of

TOKEN: Final = re.compile(r"[^\W_]+")
ENDED: Final = ", ".join(f"'{state}'" for state in sorted(TERMINAL))

REACH: Final = "SELECT event_id, workflow_no FROM workflow_search_reach"
NEXT: Final = """
SELECT max(id) FROM (SELECT id FROM workflow_events WHERE id > ? ORDER BY id LIMIT ?) page
"""
AHEAD: Final = "SELECT count(*) FROM (SELECT id FROM workflow_events WHERE id > ? LIMIT ?) page"
DUE: Final = f"""
SELECT count(*), coalesce(sum(CASE WHEN e.state IN ({ENDED}) THEN 1 ELSE 0 END), 0)
FROM (SELECT id, execution_no FROM workflow_events WHERE id > ? ORDER BY id LIMIT ?) page
JOIN workflow_executions e ON e.no = page.execution_no
"""
TOUCHED: Final = "SELECT DISTINCT v.execution_no FROM workflow_events v WHERE v.id > ? AND v.id <= ?"
FORGET: Final = f"DELETE FROM workflow_search WHERE rowid IN ({TOUCHED})"
INDEX: Final = f"""
INSERT INTO workflow_search (rowid, text)
SELECT e.no, e.id || ' ' || w.name || ' ' || coalesce(w.version, '') || ' ' || e.state || ' '
             || coalesce(e.triggered_by, '') || ' ' || coalesce(e.parent_id, '') || ' ' || e.trace_id || ' '
             || CASE WHEN e.error LIKE '%$sealed:%' THEN ''
                ELSE substr(coalesce(e.error, ''), 1, {TEXT_CHARS_MAX}) END
             || ' ' || CASE WHEN coalesce(c.patched_context, c.context) LIKE '"$sealed:%' THEN ''
                       ELSE substr(coalesce(c.patched_context, c.context), 1, {TEXT_CHARS_MAX}) END
FROM workflow_executions e
JOIN workflows w ON w.no = e.workflow_no
JOIN workflow_contexts c ON c.execution_no = e.no
WHERE e.no IN ({TOUCHED}) AND e.state IN ({ENDED})
"""
INDEX_WORKFLOWS: Final = f"""
INSERT INTO workflow_search (rowid, text)
SELECT -w.no, w.name || ' ' || coalesce(w.version, '') || ' ' || coalesce(w.description, '') || ' '
              || coalesce(w.author, '') || ' ' || w.tags || ' '
              || substr(w.definition, 1, {DEFINITION_CHARS_MAX})
FROM workflows w WHERE w.no > ? AND NOT EXISTS (SELECT 1 FROM workflow_search s WHERE s.rowid = -w.no)
"""
MOVE: Final = """
UPDATE workflow_search_reach SET event_id = ?, workflow_no = (SELECT coalesce(max(no), 0) FROM workflows)
"""


class Index(Write, frozen=True, kw_only=True):
    """Let what the next `events` lines of the log belong to be found, as far as it has ended.

    Answers `Indexed`.
    """

    events: int


class Indexed(msgspec.Struct, frozen=True):
    """The answer to `Index`: whether the index now reaches to the end of the log."""

    is_done: bool


class SearchResult(Record, frozen=True, kw_only=True):
    """What was found, newest first. `is_behind`: the log goes on where the index ends."""

    executions: tuple[ExecutionSummary, ...]
    workflows: tuple[Workflow, ...]
    is_behind: bool


class Engine(msgspec.Struct, frozen=True):
    """How one database is asked for words: the numbers that match, newest first, and the question's form."""

    executions: str
    newest: str | None  # the same among the newest alone, where they are not what is met first anyhow
    revisions: str  # the same among the revisions of workflows, which are few
    phrase: str  # joins the words of a phrase
    quoted: str  # one phrase
    beginning: str  # one whose last word goes on
    join: str


SQLITE: Final = Engine(
    executions=(
        "SELECT rowid AS no FROM workflow_search WHERE workflow_search MATCH ? AND rowid > 0 "
        "ORDER BY rowid DESC LIMIT ?"
    ),
    newest=None,
    revisions=(
        "SELECT rowid AS no FROM workflow_search WHERE workflow_search MATCH ? AND rowid < 0 "
        "ORDER BY rowid LIMIT ?"
    ),
    phrase=" ",
    quoted='"{}"',
    beginning='"{}"*',
    join=" ",
)
# A word that many executions have is soon met among the newest; for one that few have the index has to be
# asked, and not the numbers walked, which is what the planner would choose: so both are materialised.
POSTGRES: Final = Engine(
    executions=(
        "WITH hits AS MATERIALIZED "
        "(SELECT rowid FROM workflow_search WHERE words @@ to_tsquery('simple', ?)) "
        "SELECT rowid AS no FROM hits WHERE rowid > 0 ORDER BY rowid DESC LIMIT ?"
    ),
    newest=(
        "WITH newest AS MATERIALIZED (SELECT rowid, words FROM workflow_search WHERE rowid > 0 "
        f"ORDER BY rowid DESC LIMIT {NEWEST}) SELECT rowid AS no FROM newest "
        "WHERE words @@ to_tsquery('simple', ?) ORDER BY rowid DESC LIMIT ?"
    ),
    revisions=(
        "WITH revisions AS MATERIALIZED (SELECT rowid, words FROM workflow_search WHERE rowid < 0) "
        "SELECT rowid AS no FROM revisions WHERE words @@ to_tsquery('simple', ?) ORDER BY rowid LIMIT ?"
    ),
    phrase=" <-> ",
    quoted="({})",
    beginning="({}:*)",
    join=" & ",
)


def index(write: Index) -> Script[Indexed]:
    """Take the next lines of the log."""
    event_id, workflow_no = (yield REACH, ()).fetchone()
    (upto,) = (yield NEXT, (event_id, write.events)).fetchone()
    yield INDEX_WORKFLOWS, (workflow_no - LATE_MAX,)
    if upto is not None:
        yield FORGET, (event_id, upto)
        yield INDEX, (event_id, upto)
    yield MOVE, (event_id if upto is None else upto,)
    (ahead,) = (yield AHEAD, (event_id if upto is None else upto, 1)).fetchone()
    return Indexed(is_done=ahead == 0)


def is_behind(of_workflows: bool = True) -> Script[bool]:  # noqa: FBT001, FBT002
    """Whether there is something to be indexed: in the log, or also among the workflows.

    Lines of what goes on are no reason to write, until they are as many as are taken at once.
    """
    event_id, workflow_no = (yield REACH, ()).fetchone()
    lines, ended = (yield DUE, (event_id, DUE_EVENTS)).fetchone()
    if ended or lines == DUE_EVENTS or not of_workflows:
        return bool(ended) or bool(lines == DUE_EVENTS)
    (newest,) = (yield "SELECT coalesce(max(no), 0) FROM workflows", ()).fetchone()
    return bool(newest > workflow_no)


def begin_anew() -> Script[None]:
    """Empty the index; it is filled from the beginning of the log again."""
    yield "DELETE FROM workflow_search WHERE rowid <> 0", ()
    yield "UPDATE workflow_search_reach SET event_id = 0, workflow_no = 0", ()


def forget(execution_no: int) -> Script[None]:
    """An execution is being deleted."""
    yield "DELETE FROM workflow_search WHERE rowid = ?", (execution_no,)


def search(engine: Engine, words: str, limit: int) -> Script[SearchResult]:
    """What has all these words. Raises NotFound where there is no word in them."""
    question = asked(engine, words)
    behind = yield from is_behind()
    hits: list[Any] = []
    if engine.newest is not None:
        hits = (yield engine.newest, (question, limit)).fetchall()
    if len(hits) < limit:
        hits = (yield engine.executions, (question, limit)).fetchall()
    executions = yield from _each(rows.SUMMARY + "WHERE e.no = ?", [row[0] for row in hits])
    found = yield engine.revisions, (question, WORKFLOWS_MAX)
    workflows = yield from _each(rows.WORKFLOW + "WHERE no = ?", [-row[0] for row in found])
    return SearchResult(
        executions=tuple(map(rows.summary, executions)),
        workflows=tuple(map(rows.workflow, workflows)),
        is_behind=behind,
    )


def asked(engine: Engine, words: str) -> str:
    """The words as that database wants to have them. Raises NotFound where there are none."""
    terms = []
    for word in words.split()[:WORDS_MAX]:
        tokens = TOKEN.findall(word.lower())
        if tokens:
            form = engine.beginning if word.endswith("*") else engine.quoted
            terms.append(form.format(engine.phrase.join(tokens)))
    if not terms:
        raise NotFound("word", words, hint="a search is for letters or digits")
    return engine.join.join(terms)


def _each(query: str, numbers: Sequence[int]) -> Script[list[Any]]:
    """The rows of these numbers, in this order; what has gone meanwhile is left out."""
    found = []
    for number in numbers:
        row = (yield query, (number,)).fetchone()
        if row is not None:
            found.append(row)
    return found
