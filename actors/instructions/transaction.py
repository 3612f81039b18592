"""Statements a body wants executed together with its outcome: collected, checked early, run never or once."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from perdure.actors.errors import InvalidStatement
from perdure.store.writes import Statement

STATEMENTS_MAX: Final = 1_000  # of one attempt; they hold up everybody else's commit while they run
BYTES_MAX: Final = 4 * 2**20  # of their texts and values together
INTEGER_MAX: Final = 2**63 - 1  # what a column holds
BOUND_AS_THEY_ARE: Final = (type(None), bool, int, float, str, bytes)


class Collected:
    """What the transactions of one attempt have collected, until its outcome takes it."""

    __slots__ = ("_bytes", "_is_sealed", "_statements")

    def __init__(self) -> None:
        """Nothing yet."""
        self._statements: list[Statement] = []
        self._bytes = 0
        self._is_sealed = False

    def add(self, statements: list[Statement]) -> None:
        """Take the statements of a transaction whose block has ended well. Raises InvalidStatement."""
        if self._is_sealed and statements:
            raise InvalidStatement("the step has ended: its outcome was recorded without this statement")
        self._statements += statements
        self._bytes += sum(_size(statement) for statement in statements)
        if len(self._statements) > STATEMENTS_MAX:
            raise InvalidStatement(
                f"one step may have {STATEMENTS_MAX:,} statements: use fewer, or more steps"
            )
        if self._bytes > BYTES_MAX:
            raise InvalidStatement(
                f"the statements of one step may have {BYTES_MAX:,} bytes of text and values, "
                f"these have {self._bytes:,}: write large data elsewhere and keep its address"
            )

    def seal(self) -> tuple[Statement, ...]:
        """All of them, for the outcome; nothing more is taken."""
        self._is_sealed = True
        return tuple(self._statements)


SEALED: Final = Collected()  # what every attempt that has ended collects into
SEALED.seal()


class Transaction:
    """`with context.transaction() as tx:` or `async with`; both only collect and never wait.

    What `execute` is given runs when the step's outcome is committed, in the same transaction, in
    order, exactly once; never if the body fails, is interrupted or runs out of time. A block that
    raises keeps nothing. A statement the database refuses fails the attempt with StatementFailed.
    """

    __slots__ = ("_collected", "_is_open", "_statements")

    def __init__(self, collected: Collected) -> None:
        """Made by `StepContext.transaction`."""
        self._collected = collected
        self._statements: list[Statement] = []
        self._is_open = False

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, rows: int | None = None) -> None:
        """Collect one statement; its result cannot be had, as it runs after the body has returned.

        `parameters` fill its `?` (None, bool, int, float, str and bytes). With `rows` it fails unless
        it changes exactly so many. Raises InvalidStatement at once for what could never be executed.
        """
        if not self._is_open:
            raise InvalidStatement(
                "the transaction is not open: use it inside `with context.transaction() as tx:`"
            )
        _check_text(sql)
        _check_values(parameters, sql)
        values = tuple(_bound(value, sql) for value in parameters)
        self._statements.append(Statement(sql, values, rows))

    def __enter__(self) -> Self:
        """Begin to collect."""
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was collected, unless the block raised."""
        self._is_open = False
        statements, self._statements = self._statements, []
        if kind is None:
            self._collected.add(statements)

    async def __aenter__(self) -> Self:
        """Begin to collect."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was collected, unless the block raised."""
        self.__exit__(kind, error, trace)


def _check_text(sql: Any) -> None:
    if not isinstance(sql, str) or not sql.strip():
        raise InvalidStatement(f"a statement is a text, not {sql!r:.60}")


def _check_values(values: Any, sql: str) -> None:
    if not isinstance(values, tuple | list):
        raise InvalidStatement(f"give the values of {sql!r:.60} as a tuple or list, not {values!r:.60}")


def _bound(value: Any, sql: str) -> Any:
    """A value as it will be bound, safe from later changes. Raises InvalidStatement."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, BOUND_AS_THEY_ARE):
        raise InvalidStatement(
            f"{sql!r:.60} cannot be given a {type(value).__name__}: give None, bool, int, float, str or bytes"
        )
    if isinstance(value, int) and not -INTEGER_MAX - 1 <= value <= INTEGER_MAX:
        raise InvalidStatement(f"{sql!r:.60} cannot be given {value}: integers have 64 bits; give it as text")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidStatement(
                f"{sql!r:.60} cannot be given {value!a:.60}: it is no Unicode text"
            ) from error
    return value


def _size(statement: Statement) -> int:
    return len(statement.sql) + sum(len(v) for v in statement.parameters if isinstance(v, str | bytes))
