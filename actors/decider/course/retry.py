"""Whether a failed attempt is tried again, and after how long."""

from __future__ import annotations

from perdure.actors.instructions.plan import RetryPolicy
from perdure.actors.messages import Failed


def delay_before(policy: RetryPolicy, *, retry: int, chance: float) -> int:
    """Milliseconds to wait before retry number `retry` (1 is the first).

    Exponential, capped, with full jitter where the policy wants it: `chance` in [0, 1) picks the
    part of the delay that is waited (after Brooker, "Exponential Backoff And Jitter", 2015).
    """
    if policy.delay_ms == 0:
        return 0
    try:
        delay = policy.delay_ms * float(policy.multiplier) ** (retry - 1)
    except OverflowError:  # far past any cap
        delay = policy.max_delay_ms
    capped = min(delay, policy.max_delay_ms)
    return int(capped * chance if policy.jitter else capped)


def may_retry(policy: RetryPolicy, failed: Failed, *, attempt: int) -> bool:
    """Whether attempt number `attempt` (1 is the first), having failed so, is followed by another."""
    if not failed.may_retry or attempt > policy.max_retries:
        return False
    wanted = policy.retryable_errors
    return not wanted or any(name in wanted for name in failed.names)
