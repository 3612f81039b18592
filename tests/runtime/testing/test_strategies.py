"""Whatever hypothesis draws: the execution comes to rest, and the store tells one possible story."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.runtime import IllegalTransition, Workflow
from perdure.runtime.testing import TestRuntime, run_virtual, strategies
from perdure.runtime.testing.strategies import Interference
from perdure.runtime.testing.stubs import Stub
from perdure.store.states import TERMINAL


@given(strategies.workflows())
def test_a_drawn_workflow_is_valid_and_reads_back_equal(workflow: Workflow) -> None:
    """It has passed every check a written one has to pass."""
    assert Workflow.parse(workflow.to_yaml()).definition == workflow.definition


@settings(max_examples=60)
@given(
    workflow=strategies.workflows(),
    worker=strategies.tempers(),
    commands=strategies.commands(),
    crashes=st.lists(st.sampled_from([0.0, 30.0, 3_600.0]), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_any_workflow_interfered_with_and_crashed_comes_to_its_end(
    workflow: Workflow, worker: Stub, commands: list[Interference], crashes: list[float], seed: int
) -> None:
    """TestRuntime checks the store, the acknowledgements and the effects at the end of each."""

    async def main() -> None:
        async with TestRuntime(workflow, stubs=[worker], seed=seed) as test:
            execution = await test.start(workflow, {})
            for each in commands:
                await each.apply(execution)
                if crashes:
                    await test.advance(crashes.pop())
                    await test.crash()
            with suppress(IllegalTransition):
                await execution.resume()
            await execution.result(check=False)
            assert (await execution.status()).state in TERMINAL

    run_virtual(main, seed=seed, passes_max=100_000)
