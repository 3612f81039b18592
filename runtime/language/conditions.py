"""Conditions in CEL, the Common Expression Language, over JSON values.

A condition sees two names: `inputs`, the context of the execution, and `steps`, which has for every
step that comes before this one its `state`, its `output` and its `error`; some see further ones. It
is compiled when the workflow is read. The reference implementation bounds what an expression may
cost: 32 levels of nesting, and a budget of iterations. It is an extra (`perdure[conditions]`) and
imported when a workflow needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.actors.instructions.plan import Condition, Values
from perdure.runtime.language.graph import Needs
from perdure.store.errors import PerdureError

if TYPE_CHECKING:
    from cel_expr_python import cel

RULE_NAMES: Final = ("execution", "signal")  # what a rule to resume on sees
EXTRA: Final = "perdure[conditions]"
COMPILED_MAX: Final = 10_000  # compiled expressions kept: a workflow is compiled more than once


def _parts_of(root: str) -> re.Pattern[str]:
    """What names a part of `root`: `root.KEY`, `root["KEY"]`. Texts and comments are passed over."""
    return re.compile(
        rf"(?P<asks>\bhas\s*\(\s*)?(?<![\w.]){root}\b\s*"
        r"""(?:\.\s*(?P<plain>[A-Za-z_]\w*)\b(?!\s*\()|\[\s*(?P<mark>["'])(?P<quoted>[^"'\\]*)(?P=mark)\s*\])"""
        rf"|(?P<dynamic>(?<![\w.]){root}\b)|//[^\r\n]*"
        r"""|[rR]?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""",
        re.DOTALL,
    )


_STEPS, _INPUTS = _parts_of("steps"), _parts_of("inputs")


class Gives(msgspec.Struct, frozen=True):
    """What an expression may give: the names of its types in CEL (None: any), and in words."""

    kinds: frozenset[str] | None
    words: str


TRUTH: Final = Gives(frozenset({"BOOL", "DYN"}), "true or false")
ITEMS: Final = Gives(frozenset({"LIST", "INT", "UINT", "DYN"}), "a list or a count")
ANYTHING: Final = Gives(None, "anything")


class ConditionsNotInstalled(PerdureError):
    """A workflow has a condition in CEL, and the library that evaluates it is not installed."""

    def __init__(self) -> None:
        """Say how to get it."""
        super().__init__(f'conditions need an extra: pip install "{EXTRA}"')


class BadCondition(PerdureError):
    """A condition cannot be compiled, or gave an error instead of an answer."""


def compile_condition(
    text: str, *, no: int | None, numbers: Mapping[str, int], needs: Needs, names: tuple[str, ...] = ()
) -> Condition:
    """Return the closure that evaluates an expression of step `no`, which has been checked.

    None is none of the steps: what the workflow itself asks, when all of them have ended.

    `names` are what it sees beside `inputs` and `steps`; they are looked for where the inputs are.

    Only the outputs that the text names are decoded; where it takes them by a computed key, those of
    all steps before it are. The closure raises BadCondition for whatever CEL calls an error. Raises
    ConditionsNotInstalled.
    """
    expression = _compile(text, names)
    keys, is_dynamic = references(text)
    looked_at = {key: numbers[key] for key in keys}
    if is_dynamic:
        before = set(range(len(needs))) if no is None else _ancestors_of(no, needs)
        looked_at = {key: other for key, other in numbers.items() if other in before}

    def condition(values: Values) -> Any:
        steps = {
            key: {"state": values.state(no), "output": values.output(no), "error": values.error(no)}
            for key, no in looked_at.items()
        }
        data = {"inputs": dict(values.context), "steps": steps}
        return _evaluate(expression, text, data | {name: values.context[name] for name in names})

    return condition


def compile_rule(text: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what evaluates a rule over `RULE_NAMES` beside `inputs` and `steps`, all of them given.

    Raises BadCondition, ConditionsNotInstalled; so does what is returned.
    """
    expression = _compile(text, RULE_NAMES)
    return lambda data: _evaluate(expression, text, dict(data))


def check_rule(text: str) -> None:
    """Refuse a rule that can never be true or false. Raises BadCondition, ConditionsNotInstalled."""
    check_condition(text, names=RULE_NAMES)


def check_condition(text: str, *, names: tuple[str, ...] = (), gives: Gives = TRUTH) -> None:
    """Refuse what is no CEL or can never give what is wanted. Raises BadCondition, ConditionsNotInstalled."""
    kind = _compile(text, names).return_type().name()
    if gives.kinds is not None and kind.partition("<")[0] not in gives.kinds:
        raise BadCondition(f"it gives {kind}, not {gives.words}")


def references(text: str) -> tuple[set[str], bool]:
    """The keys of the steps an expression names, and whether it also takes some by a computed key."""
    found = list(_STEPS.finditer(text))
    return _named(found), any(each["dynamic"] for each in found)


def inputs_taken(text: str) -> set[str]:
    """The inputs an expression takes to be there: not those it asks for, with `has` or by a computed name."""
    found = list(_INPUTS.finditer(text))
    if any(each["dynamic"] for each in found):
        return set()
    return _named(found) - _named(each for each in found if each["asks"])


def _named(found: Iterable[re.Match[str]]) -> set[str]:
    return {each[how] for each in found for how in ("plain", "quoted") if each[how] is not None}


def _ancestors_of(no: int, needs: Needs) -> set[int]:
    found: set[int] = set()
    work = list(needs[no])
    while work:
        need = work.pop()
        if need not in found:
            found.add(need)
            work.extend(needs[need])
    return found


def _evaluate(expression: cel.Expression, text: str, data: dict[str, Any]) -> Any:
    try:
        value = expression.eval(data=data)
    except RuntimeError as error:  # a number past 64 bits, a budget that is used up
        raise _failure(str(error), text, data) from None
    if value.type().name() == "ERROR":
        raise _failure(str(value.plain_value()), text, data)
    return value.plain_value()


def _failure(said: str, text: str, data: dict[str, Any]) -> BadCondition:
    from perdure.runtime.language.cel_failures import failed  # noqa: PLC0415  what few need, few pay for

    return BadCondition(failed(_cleaned([said]), text, data))


@lru_cache(maxsize=COMPILED_MAX)
def _compile(text: str, names: tuple[str, ...]) -> cel.Expression:
    try:
        return _environment(names).compile(text)
    except RuntimeError as error:
        from perdure.runtime.language.cel_errors import explained  # noqa: PLC0415  what few need, few pay for

        told = explained(str(error), text, names=("inputs", "steps", *names))
        raise BadCondition(told or _cleaned(str(error).splitlines())) from None


@cache
def _environment(names: tuple[str, ...]) -> cel.Env:
    """The names an expression knows."""
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - 50 MB that only workflows with conditions pay
    except ImportError:
        raise ConditionsNotInstalled from None
    mapping = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    further = dict.fromkeys(names, cel.Type.DYN)
    return cel.NewEnv(variables={"inputs": mapping, "steps": mapping} | further)


def _cleaned(lines: Iterable[str]) -> str:
    """What CEL says, without the drawing of the place and the codes around it."""
    told = [line for line in lines if not line.lstrip().startswith("|")]
    text = " ".join(told).removesuffix(" (in container '')")
    text = re.sub(r"^[A-Z_]+: (ERROR: <input>:)?", "", text)
    text = re.sub(r" \(in container ''\)", "", text)
    return re.sub(r" \[[A-Z_]+\]$", "", text)
