"""What a publication changes among the schedules that its workflow declares: a pure decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from perdure.runtime.schedules.policy import next_at
from perdure.runtime.schedules.rule import Rule
from perdure.store.codec import encode
from perdure.store.records import Schedule
from perdure.store.schedule_writes import DeleteSchedule, PutSchedule


def declared(
    workflow: str, rules: Mapping[str, Rule], existing: Sequence[Schedule], *, now: int
) -> list[PutSchedule | DeleteSchedule]:
    """The writes that make the declared schedules of a workflow those of `rules`; `existing` are all it has.

    What is the same stays as it is, with the moments it has yet to decide. One that was added by hand
    stays, too, also where the workflow declares one of its name.
    """
    known = {schedule.id: schedule for schedule in existing}
    gone = [one.id for one in existing if one.is_declared and one.id not in rules]
    return [
        *(DeleteSchedule(id=id_) for id_ in gone),
        *(
            put(id_, workflow, rule, is_declared=True, now=now)
            for id_, rule in rules.items()
            if id_ not in known or (known[id_].is_declared and known[id_].rule != msgspec.to_builtins(rule))
        ),
    ]


def put(id_: str, workflow: str, rule: Rule, *, is_declared: bool, now: int) -> PutSchedule:
    """The write of one schedule, whose moments count from now."""
    return PutSchedule(
        id=id_,
        workflow=workflow,
        rule=encode(rule, what="the rule of the schedule"),
        is_declared=is_declared,
        next_at=next_at(rule, schedule_id=id_, after=now),
        at=now,
    )
