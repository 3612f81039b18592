"""What a step may read, with further names laid over the context: an iteration's, or an item's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perdure.actors.instructions.plan import Values

ITERATION: Final = "iteration"  # the number of the iteration, from 1
PREVIOUS: Final = "previous"  # the output of the iteration before; null in the first
OUTPUT: Final = "output"  # the output of the iteration that has just ended


class NamedValues:
    """The values of a step under which some names hide what the context has of the same name."""

    __slots__ = ("_values", "context")

    def __init__(self, values: Values, names: Mapping[str, Any]) -> None:
        """Look at those values, and at those names first."""
        self._values = values
        self.context: Mapping[str, Any] = {**values.context, **names}

    def output(self, step_no: int) -> Any:
        """The output of a settled step, decoded anew."""
        return self._values.output(step_no)

    def state(self, step_no: int) -> str:
        """The state of a step."""
        return self._values.state(step_no)

    def error(self, step_no: int) -> Mapping[str, str] | None:
        """Why a step has failed; None where it has not."""
        return self._values.error(step_no)

    @property
    def execution(self) -> Mapping[str, Any]:
        """What hooks and compensations may know of the execution."""
        return self._values.execution
