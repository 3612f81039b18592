"""The history of earlier systems comes over whole: each run is imported, known, or refused with a reason."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perdure.runtime.cli import run_command
from perdure.runtime.importing import taking_over
from perdure.runtime.importing.moments import milliseconds_of
from perdure.runtime.importing.shapes import detected
from perdure.runtime.importing.statuses import MEANINGS, meaning_of
from perdure.runtime.importing.taking_over import import_file, roll_back
from perdure.store import SQLiteStore, store_at
from perdure.store.errors import NotFound
from perdure.store.scripts.retention import Prune
from perdure.store.states import TERMINAL, State
from perdure.store.writes import Publish

_spec = importlib.util.spec_from_file_location("past", Path(__file__).parent / "past.py")
assert _spec is not None
assert _spec.loader is not None
past = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(past)

pytestmark = pytest.mark.integration


TODAY = 1_800_000_000_000


async def taken_over(store: Any, path: Path, *, batch: str = "b1", own: Any = None, **more: Any) -> Any:
    """Import that file."""
    usual = {"source": path.stem, "batch": batch, "own": own or {}, "at": TODAY, "is_rehearsal": False}
    return await import_file(store, str(path), **(usual | more))


@pytest.fixture(params=["file", "postgres"])
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store of each kind."""
    if request.param == "file":
        return SQLiteStore(str(tmp_path / "perdure.db"), inline=True)
    return store_at(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def store(closed_store: Any) -> AsyncIterator[Any]:
    """The store, open."""
    await closed_store.open()
    yield closed_store
    await closed_store.close()


async def test_runs_steps_and_outputs_become_executions_that_have_ended(store: Any, tmp_path: Path):
    """Times, tries, outputs and errors are those of the rows."""
    report = await taken_over(store, past.run_history(tmp_path / "runs.db"))
    assert (report.runs, report.imported, report.known) == (7, 5, 0)
    found = await store.load("runs.1")
    execution = found.execution
    assert (execution.state, execution.context) == (State.COMPLETED, {"day": 1})
    assert execution.started_at == datetime(2024, 3, 1, 2, 0, tzinfo=UTC)
    assert execution.finished_at == datetime(2024, 3, 1, 2, 5, tzinfo=UTC)
    tries = [(a.step, a.attempt, a.state, a.is_outcome) for a in found.attempts]
    assert tries == [
        ("Fetch-Data", 1, "completed", True),
        ("report", 1, "failed", False),
        ("report", 2, "completed", True),
    ]
    assert json.loads(bytes(found.attempts[2].output)) == {"pages": 12, "title": "March"}
    assert found.attempts[1].error.message == "timed out"
    failed = await store.execution("runs.2")
    assert (failed.error.message, failed.context) == ("disk full", {"input": "not json"})


async def test_what_had_not_ended_ends_with_an_explanation(store: Any, tmp_path: Path):
    """What ran fails, what had not begun or was at rest is cancelled; nobody takes any of it up."""
    await taken_over(store, past.run_history(tmp_path / "runs.db"))
    await taken_over(store, past.execution_history(tmp_path / "executions.db"))
    running, queued = await store.execution("runs.3"), await store.execution("runs.4")
    assert (running.state, running.error.type) == (State.FAILED, "Unfinished")
    assert queued.state is State.CANCELLED
    [told, *_] = await store.events(execution_id="runs.4")
    assert told.data["status"]["was"] == "queued"
    assert "had not begun" in told.data["status"]["why"]
    assert (await store.execution("executions.e3")).state is State.CANCELLED
    assert await store.claimable(limit=10) == []


async def test_every_original_row_is_in_the_log_as_it_was(store: Any, tmp_path: Path):
    """Also the bytes of a blob, and columns that mean nothing to us."""
    path = past.run_history(tmp_path / "runs.db")
    report = await taken_over(store, path, own={"exploded": State.FAILED})
    kept: list[dict[str, Any]] = []
    for id_ in await store.started_by("import:b1"):
        for event in await store.events(execution_id=id_):
            kept += [event.data["row"], *event.data["outputs"]]
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [
            dict(row)
            for table in ("workflow_runs", "workflow_steps", "workflow_outputs")
            for row in connection.execute(f"SELECT * FROM {table}")
        ]
    strange = {"$base64": "AP8="}
    rows = [{k: strange if isinstance(v, bytes) else v for k, v in row.items()} for row in rows]
    lost = [row for row in rows if row not in kept]
    assert [row["id"] for row in lost] == [6, 6, 4]  # each of them is in the report, with its reason
    assert len(report.refused) == 3
    assert len(kept) + len(lost) == report.rows


async def test_refusals_name_the_row_and_the_reason(store: Any, tmp_path: Path):
    """A status nobody knows is never guessed."""
    report = await taken_over(store, past.run_history(tmp_path / "runs.db"))
    refused = dict(report.refused)
    assert "'exploded', which is not in the table" in refused["run 5"]
    assert "its status is None" in refused["run 6"]
    assert refused["workflow_steps 6"] == "it belongs to the run '99', which is not there"
    assert refused["workflow_outputs pages"] == "it belongs to the run '77', which is not there"


async def test_an_import_that_is_repeated_imports_what_is_new(store: Any, tmp_path: Path):
    """And refuses what has changed since, for neither row may be lost."""
    path = past.run_history(tmp_path / "runs.db")
    await taken_over(store, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE workflow_runs SET status = 'success' WHERE id = 2")
        connection.execute("INSERT INTO workflow_runs (id, status) VALUES (8, 'success')")
        connection.commit()
    again = await taken_over(store, path, batch="b2")
    assert (again.runs, again.imported, again.known) == (8, 1, 4)
    assert "was imported in batch b1 with other contents" in dict(again.refused)["run 2"]
    assert (await store.execution("runs.2")).state is State.FAILED


async def test_a_batch_can_be_taken_back(store: Any, tmp_path: Path):
    """All of it and nothing else; a second time there is nothing."""
    await taken_over(store, past.execution_history(tmp_path / "executions.db"), batch="first")
    before = await store.started_by("import:first")
    await taken_over(store, past.run_history(tmp_path / "runs.db"), batch="second")
    assert await roll_back(store, "second") == 5
    assert await store.started_by("import:first") == before
    assert {workflow.name for workflow in await store.workflows(active_only=False)} == {"review", "w9"}
    with pytest.raises(NotFound):
        await roll_back(store, "second")


async def test_what_was_imported_is_kept_from_its_import_on(store: Any, tmp_path: Path):
    """Retention counts from there: the past would be gone before anybody had seen it."""
    await taken_over(store, past.run_history(tmp_path / "runs.db"))
    [early] = await store.commit([Prune(before=TODAY, limit=100)])
    assert early.executions == 0
    [late] = await store.commit([Prune(before=TODAY + 1, limit=100)])
    assert late.executions == 5


async def test_names_ids_and_times_of_another_system_are_kept_as_far_as_they_can_be(
    store: Any, tmp_path: Path
):
    """A UUID stays; an id with a space gets a name that can be typed."""
    report = await taken_over(store, past.execution_history(tmp_path / "executions.db"))
    assert report.imported == 3
    kept = await store.execution(past.UUID)
    assert (kept.workflow, kept.trace_id, kept.context) == ("review", "t-1", {"pr": 7})
    assert kept.finished_at == datetime.fromtimestamp(1709280009, UTC)
    ids = await store.started_by("import:b1")
    assert len([id_ for id_ in ids if id_.startswith("executions.e-2-")]) == 1
    assert [a.state for a in (await store.load(past.UUID)).attempts] == ["completed", "skipped"]


async def test_columns_that_are_computed_are_columns_like_others(store: Any, tmp_path: Path):
    """They are part of what the row says."""
    schema = (
        "CREATE TABLE executions (execution_id TEXT, status TEXT, "
        "shown TEXT GENERATED ALWAYS AS (upper(status)) VIRTUAL)"
    )
    path = past.made(tmp_path / "computed.db", schema, {})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO executions (execution_id, status) VALUES ('a', 'success')")
        connection.commit()
    assert (await taken_over(store, path)).imported == 1
    [event, *_] = await store.events(execution_id=(await store.started_by("import:b1"))[0])
    assert event.data["row"] == {"execution_id": "a", "status": "success", "shown": "SUCCESS"}


async def test_a_table_of_ids_and_statuses_is_enough(store: Any, tmp_path: Path):
    """What is missing is missing; an id that is there twice is told of."""
    report = await taken_over(store, past.bare_history(tmp_path / "bare.db"))
    assert (report.runs, report.imported, report.refused) == (
        3,
        3,
        [("executions a", "its id is there twice")],
    )
    assert {id_: (await store.execution(id_)).state for id_ in ("bare.a", "bare.b", "bare.row-4")} == {
        "bare.a": State.COMPLETED,
        "bare.b": State.FAILED,
        "bare.row-4": State.COMPLETED,
    }


LARGE = 25_000  # bytes of a run and of each of its outputs


def large_history(path: Path, runs: int) -> Path:
    """Runs of which the newest come first, with large outputs."""
    days = [f"2024-01-01 {number // 60:02}:{number % 60:02}:00" for number in reversed(range(runs))]
    text = "y" * LARGE
    return past.made(
        path,
        past.RUNS,
        {
            "workflow_runs": [(n, "big", "done", day, day, None, text) for n, day in enumerate(days)],
            "workflow_steps": [(n, n, "one", "done", None, None, None) for n in range(runs)],
            "workflow_outputs": [(n, n, "one", "text", text) for n in range(runs)],
        },
    )


async def test_of_a_file_no_more_is_held_in_memory_than_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """However large it is: its rows are read again when they are written."""
    monkeypatch.setattr(taking_over, "PAGE_BYTES", 10 * LARGE)
    path = large_history(tmp_path / "large.db", runs=400)
    tracemalloc.start()
    try:
        report = await taken_over(None, path, is_rehearsal=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.imported == 400
    assert peak < path.stat().st_size / 5


async def test_pages_follow_each_other_in_the_order_of_time(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And not of their rows; each output is its own step's."""
    monkeypatch.setattr(taking_over, "PAGE_BYTES", 3 * LARGE)
    path = large_history(tmp_path / "large.db", runs=7)
    assert (await taken_over(store, path)).imported == 7
    listed = await store.executions()
    assert [one.id for one in listed] == [f"large.{n}" for n in range(7)]
    assert (await taken_over(store, path)).known == 7


@pytest.mark.parametrize(
    "runs",
    [
        "(execution_id TEXT PRIMARY KEY, status TEXT) WITHOUT ROWID",
        "(execution_id TEXT, status TEXT, rowid TEXT DEFAULT 'mine')",
        "(execution_id TEXT, status TEXT, RowId TEXT, _rowid_ TEXT, oid TEXT)",
    ],
)
async def test_a_table_whose_rows_have_no_numbers_is_read_all_the_same(store: Any, tmp_path: Path, runs: str):
    """Or whose columns are called as the numbers of others are."""
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE executions {runs}")
        connection.executemany(
            "INSERT INTO executions (execution_id, status) VALUES (?, ?)", [("a", "done"), ("b", "ok")]
        )
        connection.commit()
    assert (await taken_over(store, path)).imported == 2
    events = await store.events(execution_id="odd.b")
    assert {"execution_id": "b", "status": "ok"}.items() <= events[0].data["row"].items()


async def test_a_status_that_is_a_number_or_none_at_all_can_be_told_of(store: Any, tmp_path: Path):
    """By the word that the refusal gives."""
    schema = "CREATE TABLE executions (execution_id TEXT, status)"
    rows = {"executions": [("a", 2), ("b", None), ("c", " ")]}
    path = past.made(tmp_path / "odd.db", schema, rows)
    told = dict((await taken_over(store, path)).refused)
    assert [told[f"run {id_}"].rpartition("with ")[2] for id_ in "abc"] == [
        "--map 2=…",
        "--map none=…",
        "--map none=…",
    ]
    report = await taken_over(store, path, own={"2": State.COMPLETED, "none": State.FAILED})
    assert (report.imported, report.refused) == (3, [])


async def test_a_workflow_of_today_stays_the_active_one(store: Any, tmp_path: Path):
    """The past of the same name is listed beside it and cannot be started by name."""
    today = Publish(
        name="review", revision="r1", version="2", description=None, author=None, tags=(),
        definition=b"{}", steps=(), at=1,
    )  # fmt: skip
    await store.commit([today])
    await taken_over(store, past.execution_history(tmp_path / "executions.db"))
    assert (await store.workflow("review")).revision == "r1"
    assert await store.workflow("w9") is None
    [statistics] = await store.statistics(workflow="review")
    assert (statistics.executions, statistics.completed, statistics.cancelled) == (2, 1, 1)


async def test_a_rehearsal_writes_nothing(store: Any, tmp_path: Path):
    """And says what would happen."""
    path = past.run_history(tmp_path / "runs.db")
    rehearsed = await taken_over(store, path, is_rehearsal=True)
    assert await store.executions(limit=10) == []
    assert await store.workflows(active_only=False) == []
    real = await taken_over(store, path)
    assert (rehearsed.imported, rehearsed.statuses, rehearsed.refused) == (
        real.imported,
        real.statuses,
        real.refused,
    )


async def test_the_legacy_file_is_not_changed(store: Any, tmp_path: Path):
    """Not a byte."""
    path = past.run_history(tmp_path / "runs.db")
    before = path.read_bytes()
    await taken_over(store, path)
    assert path.read_bytes() == before


async def test_a_file_of_an_unknown_shape_says_what_is_missing(store: Any, tmp_path: Path):
    """So does one of our own, and one that is no database."""
    other = past.made(tmp_path / "other.db", "CREATE TABLE invoices (id)", {})
    statusless = past.made(tmp_path / "statusless.db", "CREATE TABLE workflow_runs (id)", {})
    text = tmp_path / "text.db"
    text.write_text("hello")
    whys = [(await taken_over(store, path)).why for path in (other, statusless, text)]
    assert whys[0].startswith("has none of the tables that are known (workflow_runs,")
    assert whys[1].startswith("has no column for a status in workflow_runs")
    assert "not a database" in whys[2]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("20250131", 1_738_281_600),
        ("20259931", 20_259_931),
        ("2024-03-01 02:00:00", 1709258400),
        ("2024-03-01T03:00:00+01:00", 1709258400),
        ("2024-03-01T02:00:00.5Z", 1709258400.5),
        (1709258400, 1709258400),
        (1709258400000, 1709258400),
        (1709258400000000, 1709258400),
        ("1709258400.25", 1709258400.25),
        ("2024", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (-5, None),
        (True, None),
        (float("inf"), None),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("9999-12-31T23:59:59-05:00", None),
        ({"$base64": "AA=="}, None),
    ],
)
def test_moments_are_understood_as_they_were_written(written: Any, seconds: float | None):
    """A time without a zone is UTC; what is no time is none."""
    assert milliseconds_of(written) == (None if seconds is None else round(seconds * 1000))


def test_every_word_of_the_table_leads_to_an_end():
    """However it is spelt; words of the user's come first."""
    assert {meaning.state for meaning in MEANINGS.values()} <= TERMINAL
    for spelt in ("In-Progress", " in progress ", "IN_PROGRESS"):
        found = meaning_of(spelt, {})
        assert found is not None
        assert found.state is State.FAILED
    mine = meaning_of("running", {"running": State.COMPLETED})
    assert mine is not None
    assert (mine.state, mine.why) == (State.COMPLETED, None)
    assert [meaning_of(status, {}) for status in (None, "", 3, "odd")] == [None] * 4


def test_a_column_is_never_two_things():
    """`name` is the workflow's where nothing else is, and `completed_at` is no status."""
    layout = detected({"workflow_runs": ["Name", "Status", "completed_at"]})
    assert not isinstance(layout, str)
    assert layout.run == {"workflow": "Name", "status": "Status", "finished": "completed_at"}


def test_the_command_imports_a_folder_and_takes_it_back(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
):
    """Every file is told of; the database is copied first, once there is one."""
    past.run_history(empty_folder / "old" / "a.db")
    past.execution_history(empty_folder / "old" / "deep" / "a.db")
    assert run_command(["import", "old", "--dry-run"]) == 1
    assert "8 executions would be imported" in capsys.readouterr().out
    assert not Path("perdure.db").exists()
    assert run_command(["import", "old", "--batch", "one", "--map", "exploded=failed"]) == 1
    said = capsys.readouterr()
    assert "9 executions imported in batch one" in said.out
    assert "run 6: its status is None" in said.err
    assert (
        run_command(["import", "old/deep/a.db", "--source", "b", "--batch", "two", "--format", "json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] == "perdure.db.before-import-two"
    assert [file["known"] + file["imported"] + len(file["refused"]) for file in told["files"]] == [3]
    assert run_command(["status", "a.1"]) == 0
    assert run_command(["import", "--rollback", "one", "--dry-run"]) == 2
    assert "--dry-run: is for importing" in capsys.readouterr().err
    assert run_command(["status", "a.1"]) == 0
    capsys.readouterr()
    assert run_command(["import", "--rollback", "one"]) == 0
    assert "9 executions of batch one deleted" in capsys.readouterr().out
    assert run_command(["import", "--rollback", "one"]) == 3
    assert run_command(["import"]) == 2
    assert run_command(["import", "old", "--map", "x=y"]) == 2


@pytest.mark.parametrize("batch", ["x" * 300, "a/b", "a\nb"])
def test_a_batch_that_no_file_can_be_called_after_is_refused(
    batch: str, empty_folder: Path, capsys: pytest.CaptureFixture[str]
):
    """Before anything is looked at: the copy that is made first bears its name."""
    past.run_history(empty_folder / "old.db")
    assert run_command(["import", "old.db"]) == 1
    assert run_command(["import", "old.db", "--batch", batch]) == 2
    assert "a copy of the database is called after it" in capsys.readouterr().err


def test_what_failed_in_the_past_is_not_completed_today(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
):
    """Its one step has completed, so a retry would have nothing left to do."""
    past.made(
        empty_folder / "a.db",
        past.RUNS,
        {
            "workflow_runs": [
                (1, "report", "failed", "2024-03-01 02:00:00", "2024-03-01 02:05:00", "x", None)
            ],
            "workflow_steps": [(1, 1, "fetch", "completed", "2024-03-01 02:00:00", None, None)],
        },
    )
    assert run_command(["import", "a.db"]) == 0
    assert run_command(["retry", "a.1"]) == 5
    assert "it was imported: what it did was done elsewhere, and stays" in capsys.readouterr().err
    assert run_command(["list", "--status", "failed", "--quiet"]) == 0
    assert capsys.readouterr().out == "a.1\n"
