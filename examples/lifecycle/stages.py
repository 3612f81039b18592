"""The lifecycle of savings: discover → qualify → target_design → value_realization → integrity."""

from __future__ import annotations

from pathlib import Path

import msgspec

from perdure.runtime import Workflow

LIKELIHOOD_MIN = 0.4  # below it an idea is a hope
PAYBACK_MONTHS_MAX = 60  # the board pays for nothing that takes longer
YEARS = 5  # what is counted as value
INTEREST = 0.06

lifecycle = Workflow("value-lifecycle", version="1.0", description="From an idea to its value.")


class Opportunity(msgspec.Struct, frozen=True, kw_only=True):
    """An idea as it was written down; money is whole euros."""

    id: str
    name: str
    area: str
    owner: str | None
    cost: int
    saving_per_year: int
    likelihood: float


class Qualified(msgspec.Struct, frozen=True, kw_only=True):
    """Which opportunities go on, and why the others do not."""

    accepted: list[Opportunity]
    rejected: dict[str, str]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Who has to save how much, and by which month it has paid back."""

    opportunity: str
    owner: str
    cost: int
    expected_per_year: int
    payback_months: int


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What a target is worth today."""

    opportunity: str
    net_present_value: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The figures, once all of them agree."""

    discovered: int
    accepted: int
    rejected: dict[str, str]
    invested: int
    net_present_value: int
    best: str


@lifecycle.step
def discover(source: str) -> list[Opportunity]:
    """Read the opportunities; a malformed file fails here, with the place where it is wrong."""
    return msgspec.json.decode(Path(source).read_bytes(), type=list[Opportunity])


@lifecycle.step
def qualify(discover: list[Opportunity]) -> Qualified:
    """Keep what has an owner, is likely, and pays back in time."""
    reasons = {each.id: reason_against(each) for each in discover}
    return Qualified(
        accepted=[each for each in discover if reasons[each.id] is None],
        rejected={id_: reason for id_, reason in reasons.items() if reason is not None},
    )


@lifecycle.step
def target_design(qualify: Qualified) -> list[Target]:
    """Set the target of each opportunity."""
    return [
        Target(
            opportunity=each.id,
            owner=each.owner or "",
            cost=each.cost,
            expected_per_year=round(each.saving_per_year * each.likelihood),
            payback_months=payback_months(each),
        )
        for each in qualify.accepted
    ]


@lifecycle.step
def value_realization(target_design: list[Target]) -> list[Value]:
    """Discount what each target brings over the years."""
    factor = sum((1 + INTEREST) ** -year for year in range(1, YEARS + 1))
    return [
        Value(
            opportunity=each.opportunity, net_present_value=round(each.expected_per_year * factor) - each.cost
        )
        for each in target_design
    ]


@lifecycle.step
def integrity(
    discover: list[Opportunity],
    qualify: Qualified,
    target_design: list[Target],
    value_realization: list[Value],
) -> Verdict:
    """Check that nothing was lost or counted twice on the way, then add up."""
    ids = [each.id for each in discover]
    accepted = [each.id for each in qualify.accepted]
    if len(set(ids)) != len(ids):
        raise ValueError(f"an opportunity is listed twice: {sorted(ids)}")
    if sorted(accepted + list(qualify.rejected)) != sorted(ids):
        raise ValueError("accepted and rejected opportunities are not those discovered")
    if not accepted == [t.opportunity for t in target_design] == [v.opportunity for v in value_realization]:
        raise ValueError("targets and values are not those of the accepted opportunities")
    best = max(value_realization, key=lambda value: value.net_present_value, default=None)
    return Verdict(
        discovered=len(ids),
        accepted=len(accepted),
        rejected=qualify.rejected,
        invested=sum(each.cost for each in target_design),
        net_present_value=sum(each.net_present_value for each in value_realization),
        best=best.opportunity if best else "none",
    )


def reason_against(opportunity: Opportunity) -> str | None:
    """Say why an opportunity does not qualify, or None when it does."""
    if opportunity.owner is None:
        return "has no owner"
    if opportunity.likelihood < LIKELIHOOD_MIN:
        return f"is only {opportunity.likelihood:.0%} likely"
    if payback_months(opportunity) > PAYBACK_MONTHS_MAX:
        return f"pays back after {payback_months(opportunity)} months"
    return None


def payback_months(opportunity: Opportunity) -> int:
    """Count the months until the expected savings have paid the cost."""
    monthly = opportunity.saving_per_year * opportunity.likelihood / 12
    return round(opportunity.cost / monthly) if monthly > 0 else 12 * 100
