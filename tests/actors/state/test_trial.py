"""Who kills is found out within a known number of deaths, and nobody else is ever taken for him."""

from __future__ import annotations

import math
import random

import pytest

from perdure.actors.state.trial import (
    CRASH_BUDGET,
    GROUPS_MAX,
    SUSPECT_DEATHS,
    TRIAL_S,
    TRIAL_S_MAX,
    Trial,
    groups,
    is_convicted,
    rounds,
    seconds,
    worst,
)

FOREVER = math.inf
SEEDS = 60


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (8, [1] * 8), (9, [2, 2, 2, 2, 1]), (100, [13] * 7 + [9]), (1_000, [125] * 8)],
)
def test_suspects_are_dealt_into_few_groups(count: int, sizes: list[int]):
    """Up to eight one by one; more in at most eight groups."""
    dealt = groups(range(count))
    assert [len(group) for group in dealt] == sizes
    assert [one for group in dealt for one in group] == list(range(count))
    assert rounds(count) == len(sizes) <= GROUPS_MAX


def test_the_time_doubles_with_each_death_up_to_a_limit():
    """So that what takes long to kill is found, too."""
    times = [seconds(SUSPECT_DEATHS + more) for more in range(40)]
    assert times[:4] == [TRIAL_S, 2 * TRIAL_S, 4 * TRIAL_S, 8 * TRIAL_S]
    assert times == sorted(times)
    assert times[-1] == TRIAL_S_MAX


def test_the_first_trial_is_over_within_ten_seconds():
    """However many are suspected."""
    assert rounds(10_000) * seconds(SUSPECT_DEATHS) <= 10


def test_those_with_the_most_deaths_are_tried():
    """Who kills has seen every death, so nobody has seen more."""
    assert worst([(1, "a"), (3, "b"), (2, "c"), (3, "d")], lambda one: one[0]) == [(3, "b"), (3, "d")]
    assert worst([], int) == []


@pytest.mark.parametrize(
    ("deaths", "died", "verdict"),
    [(2, "alone", "free"), (3, "beside", "free"), (3, "alone", "found out"), (9, "beside", "free")],
)
def test_only_a_third_death_while_alone_convicts(deaths: int, died: str, verdict: str):
    """Neither number nor solitude is enough."""
    assert is_convicted(deaths=deaths, died_alone=died == "alone") is (verdict == "found out")


def test_a_larger_budget_spares_who_is_killed_from_outside():
    """Where processes come and go, being alone at the third death is no proof."""
    assert not is_convicted(deaths=9, died_alone=True, budget=10)
    assert is_convicted(deaths=10, died_alone=True, budget=10)


def test_a_group_whose_start_was_not_written_comes_again():
    """And one that runs does not."""
    trial = Trial([4, 5], deaths=SUSPECT_DEATHS)
    trial.rewind(set())
    assert trial.next_group(now=0) == {4}
    trial.rewind(set())
    assert trial.next_group(now=0) == {4}
    trial.rewind({4})
    assert trial.next_group(now=0) == {5}


def test_a_group_has_its_time_or_ends_early():
    """When each of its members has come to an outcome the next one may begin."""
    trial = Trial(range(16), deaths=SUSPECT_DEATHS)
    assert not trial.is_on(set())
    assert trial.next_group(now=100) == {0, 1}
    assert trial.is_on({0, 1, 77})
    assert not trial.is_on({77})
    trial.heed(1_099)
    assert trial.is_on({1})
    trial.heed(1_100)
    assert not trial.is_on({1})
    assert trial.next_group(now=1_100) == {2, 3}


def test_a_trial_ends():
    """With an empty group, and nothing to wake for."""
    trial = Trial([4], deaths=5)
    assert (trial.next_group(now=0), trial.until) == ({4}, 8_000)
    assert (trial.next_group(now=0), trial.until) == (frozenset(), None)


class Story:
    """Steps of as many executions in one process, that dies and is started again; times in seconds.

    `lengths` is how long each takes; `kills_after` how long the killer runs before it kills.
    """

    def __init__(self, lengths: list[float], *, killer: int | None = None, kills_after: float = 0.0) -> None:
        """All begin at once."""
        self.lengths = lengths
        self.killer = killer
        self.kills_after = kills_after
        self.open = list(range(len(lengths)))
        self.deaths = dict.fromkeys(self.open, 0)
        self.began = dict.fromkeys(self.open, 0.0)
        self.convicted: list[int] = []
        self.waited_s = 0.0  # at most, until everything was in flight again
        self.now = 0.0

    def live(self, *, dies_after: float = FOREVER) -> bool:
        """Start the process; False when everything came to its end before it died."""
        begin, end = self.now, self.now + dies_after
        flight: set[int] = set()
        suspects = worst(
            (no for no in self.open if self.deaths[no] >= SUSPECT_DEATHS), lambda no: self.deaths[no]
        )
        suspects.sort(key=lambda no: -self.began[no])
        for group in groups(suspects):
            self._begin(group, flight)
            over = self.now + seconds(self.deaths[group[0]])
            if not self._run(flight, group, until=min(over, end)) or self.now >= end:
                return self._die(flight)
        self.waited_s = max(self.waited_s, self.now - begin)
        self._begin([no for no in self.open if no not in flight], flight)
        if not self._run(flight, self.open, until=end) or self.open:
            return self._die(flight)
        return False

    def _begin(self, step_nos: list[int], flight: set[int]) -> None:
        for no in step_nos:
            self.began[no] = self.now
            flight.add(no)

    def _run(self, flight: set[int], awaited: list[int], *, until: float) -> bool:
        """Let time pass until those have ended or time is over; False at a death."""
        left = set(awaited)
        while left & flight:
            ends = {no: self.began[no] + self.lengths[no] for no in flight}
            if self.killer in flight:
                ends[self.killer] = self.began[self.killer] + self.kills_after
            first = min(ends, key=ends.__getitem__)
            if ends[first] > until:
                self.now = max(self.now, until)
                return True
            self.now = ends[first]
            if first == self.killer:
                return False
            flight.discard(first)
            self.open.remove(first)
        return True

    def _die(self, flight: set[int]) -> bool:
        for no in flight:
            self.deaths[no] += 1
            if is_convicted(deaths=self.deaths[no], died_alone=len(flight) == 1):
                self.convicted.append(no)
                self.open.remove(no)
        return True


@pytest.mark.parametrize("count", [1, 2, 8, 9, 21, 64, 100, 600])
@pytest.mark.parametrize("length", [0.01, 3_600.0])
def test_a_killer_among_many_is_found_after_few_deaths(count: int, length: float):
    """Wherever it is; where innocents take long, twice per eighth: earlier groups are still in flight."""
    factors = math.ceil(math.log(count, GROUPS_MAX)) if count > 1 else 0
    most = SUSPECT_DEATHS + 1 + factors * (1 if length < TRIAL_S else 2)
    for killer in {0, count // 3, count - 1}:
        story = Story([length] * count, killer=killer, kills_after=0.005)
        while not story.convicted:
            assert story.live(), "it has to die until it is found"
        assert story.convicted == [killer]
        assert story.deaths[killer] <= most


@pytest.mark.parametrize("kills_after", [1.5, 10.0, 100.0, 250.0])
def test_a_slow_killer_is_found_after_some_more(kills_after: float):
    """As many doublings later as its time takes."""
    doublings = math.ceil(math.log2(kills_after / TRIAL_S))
    story = Story([3_600.0] * 100, killer=37, kills_after=kills_after)
    while not story.convicted:
        assert story.live()
    assert story.convicted == [37]
    assert story.deaths[37] <= CRASH_BUDGET + doublings + 2 * math.ceil(math.log(100, GROUPS_MAX))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_innocent_is_convicted_unless_it_died_alone(seed: int):
    """However often and whenever the process is killed from outside, with a killer inside or none."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    count = chance.choice((2, 3, 9, 40, 80))
    lengths = [chance.choice((0.1, 2.0, 30.0, 3_600.0)) for _ in range(count)]
    killer = chance.choice((None, chance.randrange(count)))
    story = Story(lengths, killer=killer, kills_after=chance.choice((0.01, 5.0)))
    alone: set[int] = set()
    die = story._die

    def note(flight: set[int]) -> bool:
        if len(flight) == 1:
            alone.update(flight)
        return die(flight)

    story._die = note  # type: ignore[method-assign]
    for _ in range(40):
        if not story.live(dies_after=chance.choice((0.05, 0.5, 3.0, 20.0, 500.0))):
            break
    assert set(story.convicted) <= alone
    while story.live():
        pass
    assert killer is None or killer in story.convicted or killer not in story.deaths
    assert not story.open


def test_innocents_stand_still_for_eight_trials_at_most():
    """Two kills in a row, and a hundred long steps are all at work again within ten seconds."""
    story = Story([3_600.0] * 100)
    for _ in range(2):
        assert story.live(dies_after=1.0)
    assert not story.live()
    assert story.waited_s == GROUPS_MAX * TRIAL_S <= 10
    assert story.convicted == []
