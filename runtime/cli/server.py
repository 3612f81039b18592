"""`perdure doctor` for a PostgreSQL server: what is wrong with its settings, and what is stuck in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from perdure.actors.cluster.membership import is_alive
from perdure.runtime.cli.diagnosis import STORE_BYTES_MAX, Circumstances, Finding, attention, bounds, stuck
from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.render import ago, size
from perdure.runtime.cli.session import Session

if TYPE_CHECKING:
    from perdure.store.postgres.health import ServerHealth

DEAD_ROWS_MAX: Final = 10_000  # of one table; fewer are an autovacuum's next errand
DEAD_SHARE_MAX: Final = 0.5  # of its rows: more, and nothing vacuums it
OLDEST_FIRST: Final = (
    "SELECT pid, xact_start, state, query FROM pg_stat_activity "
    "WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 3"
)
CONNECTIONS_SHARE_MAX: Final = 0.9
TRANSACTION_S_MAX: Final = 3_600.0  # whoever keeps one open for longer keeps every dead row of the database


def examine_server(session: Session) -> int:
    """Examine it, and say what is to be said; exit code 1 when something needs attention."""
    from perdure.store.postgres.health import examine

    now = session.now()
    db = session.settings.db
    health = asyncio.run(examine(db, bounds(int(now.timestamp() * 1000))))
    circumstances = Circumstances(now=now, is_alive=is_alive, missing=None, library_advice=())
    findings = list(_findings(health, session.settings.durability))
    if health.work is not None:
        findings += stuck(health.work, health.runners, circumstances)
    findings.sort(key=lambda finding: finding.severity != "attention")
    is_well = all(finding.severity != "attention" for finding in findings)
    if session.out.format == "table":
        from perdure.runtime.cli.doctor import show_findings

        session.out.table(("DATABASE", health.location), _facts(session, health))
        session.out.write("\n")
        show_findings(session.out, findings)
    else:
        session.out.json(
            {"ok": is_well, "findings": findings, "size_bytes": health.size_bytes, "health": health}
        )
    return Exit.DONE if is_well else Exit.ATTENTION


def _findings(health: ServerHealth, durability: str) -> Iterator[Finding]:
    for sentence in health.damage:
        yield attention("integrity", sentence, "restore a dump from before; keep this schema for a look")
    if health.is_standby:
        yield attention("server", "this is a standby, which takes no writes", "connect to the primary")
    for setting, danger in (
        ("fsync", "a crash of the machine may leave nothing readable"),
        ("full_page_writes", "a power loss may leave pages that are half written"),
        ("autovacuum", "dead rows are never given back, and one day the server stops"),
    ):
        if health.settings[setting] == "off":
            advice = f"ALTER SYSTEM SET {setting} = on, then reload"
            yield attention("settings", f"{setting} is off: {danger}", advice)
    if durability == "power" and health.settings["synchronous_commit"] == "off":
        yield attention(
            "settings",
            "synchronous_commit is off: what was acknowledged may be lost with the server",
            "ALTER ROLE … SET synchronous_commit = on; or mean it, and say durability=process",
        )
    yield from _notes(health)


def _notes(health: ServerHealth) -> Iterator[Finding]:
    if health.schema_version != health.schema_known:
        yield _note(
            "schema",
            f"the schema is version {health.schema_version}, this release has {health.schema_known}",
            "`perdure migrate` brings it up to date; an older release cannot go on with a newer schema",
        )
    if health.is_pooled:
        yield _note(
            "pooler",
            "a pooler hands sessions out transaction by transaction: nothing can be listened for",
            "connect to the server itself, or say ?pooler=session if the pooler is in session mode",
        )
    yield from _room(health)
    if health.connections > CONNECTIONS_SHARE_MAX * int(health.settings["max_connections"]):
        text = f"{health.connections} of {health.settings['max_connections']} connections are taken"
        yield _note("connections", text, "raise max_connections, or put a pooler in between")


def _room(health: ServerHealth) -> Iterator[Finding]:
    """What takes up more room than it has to, with the SQL that mends it."""
    if health.size_bytes > STORE_BYTES_MAX:
        largest = health.tables[0]
        yield attention(
            "size",
            f"the schema is at {size(health.size_bytes)}, {size(largest.size_bytes)} of it {largest.name}",
            "`perdure prune --older-than 30d --dry-run` tells what could go; set `retention` for a worker to "
            f"do it by itself. The disk has the room back after VACUUM (FULL) {health.named(largest)}; "
            "nobody can use the table meanwhile",
        )
    for table in health.tables:
        if table.dead > DEAD_ROWS_MAX and table.dead > DEAD_SHARE_MAX * (table.live + table.dead):
            text = (
                f"{table.name} ({size(table.size_bytes)}) has {table.dead:,} dead rows beside {table.live:,}"
            )
            yield _note("bloat", text, f"VACUUM (ANALYZE) {health.named(table)};")
    if health.oldest_transaction_s > TRANSACTION_S_MAX:
        text = (
            f"a transaction has been open for {health.oldest_transaction_s / 3600:.0f} h: no dead row can go"
        )
        yield _note("bloat", text, f"{OLDEST_FIRST}; then SELECT pg_terminate_backend(pid)")


def _note(topic: str, text: str, advice: str) -> Finding:
    return Finding(severity="note", topic=topic, text=text, advice=advice)


def _facts(session: Session, health: ServerHealth) -> list[tuple[str, str]]:
    settings = health.settings
    alive = [runner for runner in health.runners if is_alive(runner)]
    largest = ", ".join(f"{table.name} {size(table.size_bytes)}" for table in health.tables[:3])
    many = f"{health.connections} of {settings['max_connections']}"
    ours = f"synchronous_commit={settings['synchronous_commit']}, fsync={settings['fsync']}"
    facts = [
        ("server", f"PostgreSQL {health.version}, {many} connections"),
        ("size", f"{size(health.size_bytes)}: {largest}"),
        ("durability", f"{session.settings.durability} ({ours})"),
        ("schema", f"{health.schema}, {health.schema_version}, this release has {health.schema_known}"),
        ("runners", ", ".join(f"{runner.kind} {runner.pid}@{runner.host}" for runner in alive) or "none"),
        ("encryption", f"keys {', '.join(health.keys)}" if health.keys else "none"),
    ]
    if health.identity is not None:
        facts.append(("store", health.identity))
    if health.work is not None:
        oldest = health.work.oldest
        since = "" if oldest is None else f", the oldest {ago(oldest, now=session.now())}"
        facts.append(
            ("executions", f"{health.work.executions:,}, {health.work.unfinished:,} unfinished{since}")
        )
    return facts
