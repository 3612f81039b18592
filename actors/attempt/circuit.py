"""The circuit breaker of an agent, shared by all executions of all runners. Pure.

Closed, it lets everybody through and remembers failures. So many within a window open it: nobody is
let through until it has cooled down. Then it is half open: a few probes are let through, and what
becomes of them closes it or opens it again. (After Nygard, "Release It!".)

A probe whose owner dies would hold the circuit half open for ever, so it is believed in for a while only.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from perdure.actors.instructions.guard import CircuitPolicy

PROBE_MS_MIN = 60_000  # how long a probe is waited for at least; one that takes longer is thought dead


class CircuitState(StrEnum):
    """Whether an agent's steps are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was let through a half-open circuit."""

    holder: str
    until: int


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """How a circuit stands; moments are ms since 1970."""

    state: CircuitState = CircuitState.CLOSED
    failures: tuple[int, ...] = ()
    opened_at: int | None = None
    retry_at: int | None = None
    probes: tuple[Probe, ...] = ()
    successes: int = 0
    reason: str | None = None


CLOSED = Circuit()


def enter(circuit: Circuit, policy: CircuitPolicy, *, holder: str, now: int) -> tuple[Circuit, int | None]:
    """Ask to be let through; answers the circuit as it then stands, and when to ask again if not now."""
    if circuit.state is CircuitState.CLOSED:
        return circuit, None
    if circuit.state is CircuitState.OPEN:
        if circuit.retry_at is not None and now < circuit.retry_at:
            return circuit, circuit.retry_at
        half = msgspec.structs.replace(circuit, state=CircuitState.HALF_OPEN, probes=(), successes=0)
        return enter(half, policy, holder=holder, now=now)
    if circuit.successes >= policy.probes:  # which wanted more when they were counted
        return CLOSED, None
    living = tuple(probe for probe in circuit.probes if probe.until > now and probe.holder != holder)
    if len(living) + circuit.successes >= policy.probes:
        return circuit, min(now + policy.cooldown_ms, *(probe.until for probe in living))
    probe = Probe(holder=holder, until=now + max(PROBE_MS_MIN, policy.cooldown_ms))
    return msgspec.structs.replace(circuit, probes=(*living, probe)), None


def leave(
    circuit: Circuit,
    policy: CircuitPolicy,
    *,
    holder: str,
    now: int,
    is_good: bool | None,
    took_ms: int = 0,
) -> Circuit:
    """Tell what became of a step that was let through; None: it was called off, which says nothing."""
    if is_good and policy.latency_ms is not None and took_ms > policy.latency_ms:
        is_good = False
    if any(probe.holder == holder for probe in circuit.probes):
        return _end_probe(circuit, policy, holder=holder, now=now, is_good=is_good)
    if circuit.state is not CircuitState.CLOSED or is_good is not False:
        return circuit  # a straggler from before it opened, or nothing to remember
    failures = tuple(at for at in (*circuit.failures, now) if at > now - policy.window_ms)[-policy.errors :]
    if len(failures) < policy.errors:
        return msgspec.structs.replace(circuit, failures=failures)
    slow = "" if policy.latency_ms is None else f" or took longer than {policy.latency_ms / 1000:g} s"
    reason = f"{policy.errors} attempts failed{slow} within {policy.window_ms / 1000:g} s"
    return _opened(policy, now=now, reason=reason)


def _end_probe(
    circuit: Circuit, policy: CircuitPolicy, *, holder: str, now: int, is_good: bool | None
) -> Circuit:
    if is_good is False:
        return _opened(policy, now=now, reason="a probe failed")
    probes = tuple(probe for probe in circuit.probes if probe.holder != holder)
    successes = circuit.successes + (is_good is True)
    if successes >= policy.probes:
        return CLOSED
    return msgspec.structs.replace(circuit, probes=probes, successes=successes)


def _opened(policy: CircuitPolicy, *, now: int, reason: str) -> Circuit:
    return Circuit(state=CircuitState.OPEN, opened_at=now, retry_at=now + policy.cooldown_ms, reason=reason)
