"""How long others have been silent: by the observer's own time, and no more of it than it was awake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perdure.actors.cluster.silence import Silences
from perdure.store.records import Runner

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def runner(no: int = 1, *, beat: int = 0, lease_ms: int = 4_000) -> Runner:
    """One that owes a heartbeat, and has given that many."""
    return Runner(
        no=no,
        id=f"r{no}",
        pid=1,
        host="h",
        kind="worker",
        lock_path=None,
        doorbell=None,
        started_at=NOON,
        heartbeat_at=NOON + timedelta(seconds=beat),
        lease_ms=lease_ms,
    )


def test_one_seen_for_the_first_time_is_not_late():
    """However old its heartbeat is: nobody knows for how long it has owned anything."""
    assert Silences().listen([runner()]) == []


def test_one_that_goes_on_beating_is_never_late():
    """Whatever its clock says, also when it was set back."""
    silences = Silences()
    assert [silences.listen([runner(beat=beat)]) for beat in (0, 2, 4, -3_600, -3_598)] == [[]] * 5


def test_silence_adds_up_to_the_lease():
    """In as many looks as it takes."""
    silences = Silences()
    silences.listen([runner()])
    for seconds, expected in ((2.0, []), (1.5, []), (0.5, [runner()])):
        late = silences.listen([runner()])
        assert late == [runner()]
        assert silences.lapsed(late, seconds=seconds) == expected


def test_a_heartbeat_ends_the_silence():
    """What was counted before is forgotten."""
    silences = Silences()
    silences.listen([runner()])
    assert silences.lapsed(silences.listen([runner()]), seconds=3.9) == []
    assert silences.listen([runner(beat=1)]) == []
    assert silences.lapsed(silences.listen([runner(beat=1)]), seconds=3.9) == []


def test_one_that_owed_nothing_meanwhile_begins_anew():
    """Whoever owns nothing need not beat."""
    silences = Silences()
    silences.listen([runner()])
    silences.lapsed(silences.listen([runner()]), seconds=3.9)
    silences.listen([])
    assert silences.listen([runner()]) == []


def test_silence_that_was_not_counted_does_not_add_up():
    """While the store takes no writes nobody can be heard."""
    silences = Silences()
    silences.listen([runner()])
    for _ in range(10):
        assert silences.listen([runner()]) == [runner()]
    assert silences.lapsed(silences.listen([runner()]), seconds=2.0) == []


def test_each_is_judged_by_its_own_lease():
    """Two processes may have been given different ones."""
    silences = Silences()
    pair = [runner(1, lease_ms=1_000), runner(2, lease_ms=9_000)]
    silences.listen(pair)
    assert silences.lapsed(silences.listen(pair), seconds=1.0) == pair[:1]
