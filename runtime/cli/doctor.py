"""`perdure doctor`: what is damaged, what is stuck, what is in force, and what to do."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.actors.cluster.membership import is_alive
from perdure.runtime.cli.diagnosis import IDS_MAX, Circumstances, Finding, bounds, diagnose
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading, UsageError
from perdure.runtime.cli.render import Output, ago, size
from perdure.runtime.cli.session import NoDatabase, Session, make_folder_importable, open_session
from perdure.runtime.cli.text import Cell
from perdure.store.records import Runner
from perdure.store.sqlite.health import Health, examine
from perdure.store.sqlite.store import SYNCHRONOUS, advice
from perdure.store.urls import without_password

if TYPE_CHECKING:
    from perdure.runtime import Agents

READING = Reading()


def doctor(*, agents: str | None = None, options: Reading = READING) -> int:
    """Examine the database: damage, executions that are stuck, sizes, what is in force.

    Nothing is changed, and whatever runs goes on. Exit code 1 when something needs attention. With
    --agents, executions that wait for code say for which. Of a server it also tells settings that
    endanger what was promised, sizes and dead rows.

    Args:
        agents: Where agents come from: module:registry or path/to/file.py:registry (PERDURE_AGENTS).
    """
    session = open_session(options, agents=agents)
    if "://" in session.settings.db:
        from perdure.runtime.cli.server import examine_server

        return examine_server(session)
    check_is_file(session)
    registry = _registry(session)
    now = session.now()
    health = examine(session.settings.db, bounds(int(now.timestamp() * 1000)))
    lives = lives_on(session.settings.db)
    missing = None if registry is None else _missing(session, health, registry)
    findings = diagnose(
        health, Circumstances(now=now, is_alive=lives, missing=missing, library_advice=advice())
    )
    is_well = all(finding.severity != "attention" for finding in findings)
    if session.out.format == "table":
        _show(session, health, findings, alive=[runner for runner in health.runners if lives(runner)])
    else:
        session.out.json(_report(session, health, findings, is_well=is_well))
    return Exit.DONE if is_well else Exit.ATTENTION


def check_is_file(session: Session) -> None:
    """Refuse a database that is no file on this machine. Raises UsageError, NoDatabase."""
    if "://" in session.settings.db:
        raise UsageError(
            f"{without_password(session.settings.db)}: this command is for SQLite files. A server has "
            f"its own tools: {dump_command(session.settings.db)}"
        )
    if not Path(session.settings.db).exists():
        raise NoDatabase(session.settings.db)


def dump_command(url: str) -> str:
    """The command that backs a server's schema up, and the one that puts it back."""
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    parts = urlsplit(without_password(url))
    options = dict(parse_qsl(parts.query))
    schema = options.pop("schema", "perdure")
    options.pop("pooler", None)
    address = shlex.quote(urlunsplit(parts._replace(query=urlencode(options, safe="/"))))
    return (
        f"pg_dump --format=custom --schema={shlex.quote(schema)} --file=perdure.dump --dbname={address}, "
        f"and back into a database without that schema: pg_restore --dbname={address} perdure.dump"
    )


def lives_on(db: str) -> Callable[[Runner], bool]:
    """Whether a runner of that database is alive, by its lock as this process sees it, or its heartbeat."""
    if "://" in db:
        return is_alive
    folder = Path(f"{db}.runners")
    return lambda runner: is_alive(runner, folder=folder)


def _registry(session: Session) -> Agents | None:
    registry = session.agents()
    if registry is not None:
        make_folder_importable()
    return registry


def _missing(session: Session, health: Health, registry: Agents) -> dict[str, tuple[str, ...]]:
    """What each execution that nobody works on cannot find among those agents; without its key, unknown."""
    from perdure.runtime.looking import lacks
    from perdure.store.scripts.sealing import KeyMissing

    if health.work is None:
        return {}
    wanted = [each.execution_id for each in health.work.unclaimed]

    async def look() -> dict[str, tuple[str, ...]]:
        async with session.looking() as store:
            return await lacks(store, wanted, registry)

    try:
        return asyncio.run(look())
    except KeyMissing:
        return {}


def _report(
    session: Session, health: Health, findings: Sequence[Finding], *, is_well: bool
) -> dict[str, Any]:
    durability = session.settings.durability
    return {
        "ok": is_well,
        "findings": findings,
        "settings": {
            "durability": durability,
            "synchronous": SYNCHRONOUS[durability],
            "durability_from": session.config.sources["durability"],
        },
        "health": health,
    }


def _show(session: Session, health: Health, findings: Sequence[Finding], *, alive: Sequence[Runner]) -> None:
    out = session.out
    out.table(("DATABASE", health.path), _facts(session, health, alive))
    out.write("\n")
    show_findings(out, findings)


def show_findings(out: Output, findings: Sequence[Finding]) -> None:
    """What is to be said, each with what to do about it."""
    for finding in findings:
        is_bad = finding.severity == "attention"
        glyph = "✘" if is_bad else "·"
        out.write(out.paint(Cell(f"{glyph} {finding.severity}", "red" if is_bad else "dim")))
        out.write(f"  {out.paint(Cell(finding.text))}\n")
        if finding.executions:
            out.write(f"    {out.paint(Cell(_ids(finding.executions), 'dim'))}\n")
        out.write(f"    → {out.paint(Cell(finding.advice))}\n")
    if not any(finding.severity == "attention" for finding in findings):
        out.write(out.done("well") + "\n")


def _facts(session: Session, health: Health, alive: Sequence[Runner]) -> list[tuple[str, str]]:
    durability = session.settings.durability
    source = session.config.sources["durability"]
    facts = [
        ("size", f"{size(health.size_bytes)}, {size(health.free_bytes)} of it free"),
        ("log", size(health.wal_bytes)),
        ("journal mode", health.journal_mode or "–"),
        ("durability", f"{durability} (synchronous={SYNCHRONOUS[durability]}), from {source}"),
        ("schema", f"{health.schema_version or '–'}, this release has {health.schema_known}"),
        ("SQLite", health.sqlite_version),
        ("runners", ", ".join(f"{runner.kind} {runner.pid}" for runner in alive) or "none"),
    ]
    if health.identity is not None:
        copied = health.identity.copied_from
        facts.append(("store", health.identity.id + (f", a copy of {copied}" if copied else "")))
    if health.work is not None:
        oldest = health.work.oldest
        since = "" if oldest is None else f", the oldest {ago(oldest, now=session.now())}"
        many = f"{health.work.executions:,}, {health.work.unfinished:,} unfinished{since}"
        facts.append(("executions", many))
        facts.append(("retention", session.settings.retention))
        facts.append(("encryption", f"keys {', '.join(health.keys)}" if health.keys else "none"))
    return facts


def _ids(executions: Sequence[str]) -> str:
    named = " ".join(executions[:IDS_MAX])
    return named if len(executions) <= IDS_MAX else f"{named} … and {len(executions) - IDS_MAX:,} more"
