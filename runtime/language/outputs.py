"""What a step promises about its output: JSON Schema, checked by jsonschema-rs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.runtime.language.errors import OutputMismatch

if TYPE_CHECKING:
    from jsonschema_rs import Validator


class BadSchema(Exception):
    """Not a JSON Schema; `path` leads to the offending part of it."""

    def __init__(self, message: str, *, path: tuple[str | int, ...] = ()) -> None:
        """`message` says what is wrong there."""
        super().__init__(message)
        self.path = path


def check_schema(schema: dict[str, Any]) -> None:
    """Refuse what is not a JSON Schema. Raises BadSchema."""
    make_validator(schema)


def compile_schema(schema: dict[str, Any], *, step: str) -> Callable[[Any], None]:
    """Return what checks outputs of `step` against its schema; it raises OutputMismatch.

    The schema is read when the first output comes: a plan is often made only to be shown.
    """

    @lru_cache(maxsize=1)
    def validator() -> Validator:
        return make_validator(schema)

    def check_output(output: Any) -> None:
        error = next(validator().iter_errors(output), None)
        if error is not None:
            raise OutputMismatch(step, path=written_path(error.instance_path), why=error.message)

    return check_output


def make_validator(schema: dict[str, Any]) -> Validator:
    """Compile a schema: patterns in linear time, references only within itself. Raises BadSchema."""
    import jsonschema_rs  # noqa: PLC0415 - 40 ms and 14 MB that only workflows with schemas pay

    try:
        return jsonschema_rs.validator_for(
            schema, pattern_options=jsonschema_rs.RegexOptions(), retriever=_retrieve_nothing
        )
    except jsonschema_rs.ValidationError as error:
        raise BadSchema(error.message, path=tuple(error.instance_path)) from None
    except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError) as error:
        raise BadSchema(str(error).partition("\n")[0]) from None


def _retrieve_nothing(uri: str) -> NoReturn:
    """Refuse to fetch schemas from elsewhere."""
    raise ValueError(f"{uri} is elsewhere, and schemas are not fetched: copy it under $defs")


def written_path(path: Sequence[str | int]) -> str:
    """A place in an output as people write it: `$.findings[3].line`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
