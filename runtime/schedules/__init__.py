"""Workflows that start by themselves: at the moments of a cron expression, or every so often."""

from perdure.runtime.schedules.door import Schedules, kept, shown
from perdure.runtime.schedules.keeper import Keeper
from perdure.runtime.schedules.rule import Missed, Overlap, Rule, rule_of

__all__ = ["Keeper", "Missed", "Overlap", "Rule", "Schedules", "kept", "rule_of", "shown"]
