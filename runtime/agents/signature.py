"""The parameters of a function, read once: what each is called, asks for and is typed as."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

from perdure.actors.instructions.context import StepContext
from perdure.runtime.agents.errors import BadSignature

Function = Callable[..., Any]

_REFUSED: Final = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only; parameters are filled by name: remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "collects positional arguments, which are never given: remove it",
}
_YIELDS: Final = (
    "has a `yield`, so calling it gives a generator, which cannot be stored: return a list of what it "
    "would yield, and tell how far it is with StepContext.heartbeat"
)


class From(msgspec.Struct, frozen=True):
    """Names what a parameter takes where no identifier can: `Annotated[str, From("any key")]`."""

    key: str


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter: `wants` is the step or input it takes, exactly so when `is_exact`."""

    name: str
    wants: str
    is_exact: bool = False
    is_context: bool = False
    has_default: bool = False
    annotation: Any = Any

    def takes(self, key: str) -> bool:
        """Whether it takes the output of the step with this key (`-` is read as `_`)."""
        return key == self.wants or (not self.is_exact and key.replace("-", "_") == self.wants)


def parameters_of(function: Function) -> tuple[Parameter, ...]:
    """Read the parameters of a function. `**kwargs` are given nothing and left out.

    Raises BadSignature for parameters that cannot be filled by name, and for a function that yields.
    """
    if _is_generator(function):
        raise BadSignature(qualified_name(function), why=_YIELDS)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise BadSignature(qualified_name(function), why=f"its parameters cannot be read ({error})") from None
    hints = _hints(function)
    found = []
    for parameter in signature.parameters.values():
        if parameter.kind in _REFUSED:
            raise BadSignature(
                qualified_name(function), why=f"parameter {parameter.name!r} {_REFUSED[parameter.kind]}"
            )
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            annotation = hints.get(parameter.name, parameter.annotation)
            found.append(_parameter(parameter.name, annotation, parameter.default))
    return tuple(found)


def qualified_name(function: Function) -> str:
    """`module:qualname`, readable back where both can be imported."""
    inner = _unwrapped(function)
    module = getattr(inner, "__module__", None) or "?"
    if module == "__main__":
        module = _main_name()
    return f"{module}:{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def place_of(function: Function) -> tuple[str, int] | None:
    """The file and line where the function begins, where it has any."""
    code = getattr(inspect.unwrap(_unwrapped(function)), "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)


def _is_generator(function: Function) -> bool:
    """Whether calling it performs nothing of it, and gives what it would yield one by one."""
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - an object that yields
    )


def is_async(function: Function) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    )


def _unwrapped(function: Function) -> Function:
    """The function inside `functools.partial`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _main_name() -> str:
    """The importable name of the program when it was started with `python -m`."""
    import __main__  # noqa: PLC0415 - whichever program is running now

    spec = getattr(__main__, "__spec__", None)
    return "__main__" if spec is None else str(spec.name)


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    """One parameter, with what its annotation says about where its value comes from."""
    wants, is_exact = name, False
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, From):
                wants, is_exact = extra.key, True
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return Parameter(
        name=name,
        wants=wants,
        is_exact=is_exact,
        is_context=_is_context(bare),
        has_default=default is not inspect.Parameter.empty,
        annotation=Any if isinstance(bare, str) or bare is inspect.Parameter.empty else annotation,
    )


def _is_context(annotation: Any) -> bool:
    """Whether the annotation is StepContext, `StepContext | None`, or a name that could not be read."""
    if isinstance(annotation, str):
        return annotation.strip("'\"").rpartition(".")[2] == "StepContext"
    return annotation is StepContext or StepContext in get_args(annotation)


def _hints(function: Function) -> dict[str, Any]:
    """The annotations, resolved one by one: a name that cannot be resolved costs only its own."""
    inner = inspect.unwrap(_unwrapped(function))
    if not hasattr(inner, "__code__"):
        inner = getattr(inner, "__call__", inner)  # noqa: B004 - the annotations of a callable object
    try:
        return get_type_hints(inner, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations are other people's expressions and raise anything
        return dict(_hints_one_by_one(inner))


def _hints_one_by_one(function: Function) -> list[tuple[str, Any]]:
    """Resolve each annotation alone; one that raises stays the text it is."""
    found = []
    names = dict(getattr(function, "__globals__", {}))
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hint = get_type_hints(alone, globalns=names, include_extras=True)[name]
        except Exception:  # noqa: BLE001 - the same
            hint = annotation
        found.append((name, hint))
    return found
