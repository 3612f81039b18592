"""What a workflow gives back: templates, or an expression in CEL, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.actors.instructions.plan import Outputs, Values
from perdure.runtime.language.conditions import (
    ANYTHING,
    EXTRA,
    BadCondition,
    ConditionsNotInstalled,
    check_condition,
    compile_condition,
    references,
)
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.findings import Path as Place
from perdure.runtime.language.graph import Needs
from perdure.runtime.language.values import Render, compile_value
from perdure.runtime.near import quoted
from perdure.store.codec import decode, encode

OUTPUT_BYTES_MAX: Final = 64 * 2**20  # of one output that is reckoned, which is never stored
CEL: Final = "cel"  # `{cel: EXPRESSION}`: a text of its own would be taken for what it says


def expression_of(value: Any) -> str | None:
    """The expression in CEL that an output is, or None for one with templates."""
    text = value.get(CEL) if isinstance(value, Mapping) and len(value) == 1 else None
    return text if isinstance(text, str) else None


def check_expression(text: str, place: Place, *, keys: Mapping[str, int], findings: Findings) -> None:
    """Add what is wrong with the expression of an output."""
    try:
        check_condition(text, gives=ANYTHING)
    except ConditionsNotInstalled as error:
        findings.add(place, str(error))
        return
    except BadCondition as error:
        findings.add(place, f"not an expression: {error}", expected="CEL over `inputs` and `steps`")
        return
    for key in sorted(references(text)[0] - keys.keys()):
        findings.add(place, f"it looks at step {quoted(key)}, which does not exist", near=(key, keys))


def compile_outputs(
    declared: Mapping[str, Any] | None, *, numbers: Mapping[str, int], needs: Needs
) -> tuple[Outputs | None, tuple[str, ...]]:
    """The closure that puts the outputs together, and what is missing here to do so."""
    if declared is None:
        return None, ()
    try:
        found = {name: _compile(name, value, numbers, needs) for name, value in declared.items()}
    except ConditionsNotInstalled:
        return None, (EXTRA,)
    return lambda values: {name: render(values) for name, render in found.items()}, ()


def _compile(name: str, value: Any, numbers: Mapping[str, int], needs: Needs) -> Render:
    """The closure that gives one output, as it would be kept."""
    text = expression_of(value)
    if text is None:
        return compile_value(value, numbers=numbers)
    evaluate = compile_condition(text, no=None, numbers=numbers, needs=needs)

    def give(values: Values) -> Any:
        return decode(encode(evaluate(values), what=f"the output {name!r}", bytes_max=OUTPUT_BYTES_MAX))

    return give
