"""What a workflow takes and gives back, through the whole runtime."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.runtime import ExecutionFailed, InputError, Runtime, Status, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual

INPUTS = {
    "required": ["path"],
    "properties": {"path": {"type": "string"}, "n": {"type": "integer", "default": 2}},
}


def counted(**head: Any) -> Workflow:
    """One step that repeats a path."""
    workflow = Workflow("counted", inputs=INPUTS, **head)

    @workflow.step
    async def repeat(path: str, n: int) -> dict[str, Any]:
        return {"text": path * n}

    return workflow


def test_defaults_are_part_of_the_stored_context_and_outputs_are_what_is_declared():
    """And what the steps gave is there, too."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            workflow = counted(outputs={"text": "{{repeat.text}}", "about": ["{{path}} {{n}} times", 7]})
            execution = await runtime.start(workflow, {"path": "x"})
            result = await execution.result()
            assert result.outputs == {"text": "xx", "about": ["x 2 times", 7]}
            assert result.steps == {"repeat": {"text": "xx"}}
            stored = await runtime.store.execution(execution.id)
            assert stored is not None
            assert stored.context == {"path": "x", "n": 2}

    run_virtual(main)


def test_without_a_declaration_the_outputs_are_those_of_the_steps():
    """By their keys."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            result = await (await runtime.start(counted(), {"path": "x", "n": 1})).result()
            assert result.outputs == result.steps == {"repeat": {"text": "x"}}
            result.outputs["repeat"]["text"] = "changed"
            assert result.steps == {"repeat": {"text": "x"}}

    run_virtual(main)


def test_a_context_that_is_not_as_declared_starts_nothing_and_each_problem_is_told_once():
    """Not again for each parameter that would take the input."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            with pytest.raises(InputError) as caught:
                await runtime.start(counted(), {"n": "many"})
            assert sorted(str(caught.value).splitlines()) == [
                'input \'n\': "many" is not of type "integer"',
                "input 'path' is missing: string",
            ]
            assert await runtime.list() == []

    run_virtual(main)


@pytest.mark.parametrize("is_read_again", [False, True])
def test_outputs_that_cannot_be_given_fail_the_execution(*, is_read_again: bool):
    """With a typed error that says which value is not there; what the steps did is kept."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            execution = await runtime.start(counted(outputs={"x": "{{repeat.words}}"}), {"path": "x"})
            if is_read_again:
                await execution.result(check=False)
            with pytest.raises(
                ExecutionFailed, match=r"cannot be given: \{\{repeat.words\}\} has no 'words'"
            ):
                await execution.result()
            result = await execution.result(check=False)
            assert (result.status, result.outputs) == (Status.FAILED, {})
            assert result.steps == {"repeat": {"text": "xx"}}
            assert result.error is not None
            assert result.error.type == "OutputError"

    run_virtual(main)


def test_an_output_that_looks_up_an_input_nobody_gave_is_refused_at_start():
    """Before any step runs."""

    async def main(runtime: Runtime) -> None:
        workflow = Workflow("w", outputs={"x": "{{nobody}}"}).sleep_step("a", 1)
        with pytest.raises(InputError, match=r"the outputs: \{\{nobody\}\} is neither a step nor an input"):
            await runtime.start(workflow)

    async def open_() -> None:
        async with VirtualRuntime() as runtime:
            await main(runtime)

    run_virtual(open_)


@pytest.mark.parametrize("cel", ["1.0 / 0.0", "[0.0 / 0.0]", "type(1)"])
def test_an_output_that_json_has_no_form_for_fails_the_execution(cel: str):
    """It never passes for null."""

    async def main() -> None:
        workflow = Workflow("w", outputs={"x": {"cel": cel}}).sleep_step("a", 1)
        async with VirtualRuntime() as runtime:
            result = await (await runtime.start(workflow)).result(check=False)
            assert result.error is not None
            assert result.error.type == "OutputError"
            assert "the output 'x' cannot be kept: $" in result.error.message

    run_virtual(main)


def test_an_output_may_be_an_expression_for_what_depends_on_the_way_it_went():
    """Over the state and the output of every step, and the inputs."""

    async def main() -> None:
        workflow = Workflow(
            "branch",
            inputs={"properties": {"n": {"type": "integer"}}},
            outputs={
                "taken": {"cel": "steps.big.state == 'completed' ? steps.big.output.value : inputs.n * -1"},
                "ran": {"cel": "steps.filter(key, steps[key].state == 'completed').size()"},
                "plain": {"cel": "is no expression", "here": 1},
            },
        )

        @workflow.step(when="inputs.n > 10")
        async def big(n: int) -> dict[str, int]:
            return {"value": n}

        @workflow.step
        async def other() -> None: ...

        async with VirtualRuntime() as runtime:
            plain = {"cel": "is no expression", "here": 1}
            assert Workflow.parse(Workflow("w", outputs={"x": {"cel": "1"}}).sleep_step("a", 1).to_yaml())
            large = await (await runtime.start(workflow, {"n": 12})).result()
            assert large.outputs == {"taken": 12, "ran": 2, "plain": plain}
            small = await (await runtime.start(workflow, {"n": 2})).result()
            assert small.outputs == {"taken": -2, "ran": 1, "plain": plain}

    run_virtual(main)
