"""`perdure prune`: deletes executions that ended long ago, and gives their room back when asked to."""

from __future__ import annotations

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError
from perdure.runtime.cli.render import counted, size
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.durations import OFF
from perdure.store.sqlite.files import size_of
from perdure.store.urls import without_password

READING = Reading()


def prune(
    *,
    older_than: str | None = None,
    keep_failed: Flag = False,
    dry_run: Flag = False,
    vacuum: Flag = False,
    options: Reading = READING,
) -> int:
    """Delete executions that ended long ago, with their logs; statistics keep what they told.

    A worker does the same by itself (setting `retention`). It is done in small transactions, while
    everything goes on. What has not ended stays, however old it is.

    Args:
        older_than: How long ago they ended, such as 90d or 4w (default: the setting `retention`).
        keep_failed: Leave those that failed.
        dry_run: Only say how many it would be.
        vacuum: Then make the file smaller; nobody else can write meanwhile.
    """
    session = open_session(options)
    age = older_than or session.settings.retention
    if age == OFF:
        raise UsageError("--older-than: must be given, as the setting `retention` is off")
    db = session.settings.db
    if vacuum and "://" in db:
        raise UsageError(
            f"--vacuum: is for SQLite files; {without_password(db)} has an autovacuum of its own"
        )

    async def main() -> int:
        async with session.runtime("client") as runtime:
            if dry_run:
                count = await runtime.prunable(older_than=age, keep_failed=keep_failed)
            else:
                count = await runtime.prune(older_than=age, keep_failed=keep_failed)
            before = size_of(db)
            if vacuum and not dry_run:
                await runtime.vacuum()
        _report(session, count, age, freed=before - size_of(db) if vacuum else None, is_dry=dry_run)
        return Exit.DONE

    return run_async(main)


def _report(session: Session, count: int, age: str, *, freed: int | None, is_dry: bool) -> None:
    if session.out.format != "table":
        session.out.json({"executions": count, "older_than": age, "dry_run": is_dry, "freed_bytes": freed})
        return
    out = session.out
    word = "would be deleted" if is_dry else "deleted"
    many = f"{counted(count, 'execution')} that ended more than {age} ago {word}"
    room = "" if freed is None else f"; the file is {size(max(freed, 0))} smaller"
    out.write(f"{out.done()}  {many}{room}\n")
