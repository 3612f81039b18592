"""What hypothesis can draw: workflows of any shape, agents of any temper, people who interfere.

Needs `hypothesis`. Whatever is drawn is small and shrinks well; nothing here waits for real time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import anyio
import msgspec
from hypothesis import strategies as st

from perdure.runtime.execution import Execution
from perdure.runtime.language import Workflow
from perdure.runtime.testing.stubs import Stub, stub
from perdure.store.errors import IllegalTransition, NotFound

STEPS_MAX: Final = 8  # more shapes than anybody has drawn by hand, and still readable when it fails
COMMANDS_MAX: Final = 8
PAUSE_S_MAX: Final = 600.0  # between two commands; about as long as a stub takes

KINDS: Final = (
    "pause",
    "interrupt",
    "resume",
    "cancel",
    "signal",
    "update",
    "checkpoint",
    "restore",
    "retry",
)


class StubFailed(Exception):
    """What a stub drawn by `tempers` raises."""


@st.composite
def workflows(
    draw: st.DrawFn, *, agents: Sequence[str] = ("worker",), steps_max: int = STEPS_MAX
) -> Workflow:
    """A valid workflow: any graph, with retries, timeouts, optional steps and every way of scheduling.

    Its steps are performed by `agents`.
    """
    count = draw(st.integers(1, steps_max))
    config = {
        "parallelism": draw(st.none() | st.integers(1, 3)),
        "continueOnError": draw(st.booleans()),
        "scheduling": draw(st.sampled_from(["level", "eager"])),
        "timeout": draw(st.none() | st.integers(1_000, 7_200_000)),
    }
    document = {
        "name": "drawn",
        "config": {key: value for key, value in config.items() if value is not None},
        "steps": [draw(_step(no, agents)) for no in range(count)],
    }
    return Workflow.parse(msgspec.json.encode(document), format="json")


@st.composite
def _step(draw: st.DrawFn, no: int, agents: Sequence[str]) -> dict[str, Any]:
    earlier = [f"s{other}" for other in range(no)]
    step: dict[str, Any] = {
        "key": f"s{no}",
        "agent": draw(st.sampled_from(list(agents))),
        "dependencies": draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else [],
        "optional": draw(st.booleans()),
        "parallel": draw(st.booleans()),
    }
    if draw(st.booleans()):
        step["timeoutMs"] = draw(st.integers(1_000, 600_000))
    if draw(st.booleans()):
        step["retryPolicy"] = {
            "maxRetries": draw(st.integers(0, 3)),
            "retryDelayMs": draw(st.sampled_from([0, 1_000, 3_600_000])),
        }
    return step


@st.composite
def tempers(draw: st.DrawFn, agent: str = "worker") -> Stub:
    """A stub that takes its time, and fails now and then."""
    outcomes = draw(st.lists(st.sampled_from(["well", "fails"]), min_size=1, max_size=5))

    def nth(no: int) -> Any:
        return no if outcomes[no % len(outcomes)] == "well" else StubFailed(f"call {no}")

    drawn = stub(agent, takes=draw(st.sampled_from([0.0, 0.5, 60.0, PAUSE_S_MAX])))
    return drawn.coming_to(nth)


class Interference(msgspec.Struct, frozen=True):
    """One thing somebody does to an execution, `after_s` seconds after the last; `kind` is of KINDS."""

    after_s: float
    kind: str

    async def apply(self, execution: Execution) -> bool:
        """Wait, then do it. False where the state the execution is in forbids it, which is no error."""
        await anyio.sleep(self.after_s)  # noqa: TID251 - the loop's time, which is virtual
        try:
            await self._do(execution)
        except (IllegalTransition, NotFound):
            return False
        return True

    async def _do(self, execution: Execution) -> None:
        match self.kind:
            case "interrupt":
                await execution.pause(mode="interrupt")
            case "signal":
                await execution.signal("drawn", {"after": self.after_s})
            case "update":
                await execution.update_context({"drawn": self.after_s})
            case "restore":
                await execution.restore("latest")
            case _:
                await getattr(execution, self.kind)()


def commands(*, max_size: int = COMMANDS_MAX) -> st.SearchStrategy[list[Interference]]:
    """What somebody does to an execution: `for each in drawn: await each.apply(execution)`."""
    pauses = st.sampled_from([0.0, 0.001, 1.0, 60.0, PAUSE_S_MAX])
    return st.lists(st.builds(Interference, pauses, st.sampled_from(KINDS)), max_size=max_size)
