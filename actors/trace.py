"""The trace id that is in force: bound once, carried by every log line and kept with every execution."""

from __future__ import annotations

from contextvars import ContextVar

trace_id: ContextVar[str | None] = ContextVar("perdure_trace_id", default=None)
"""Set it (to a trace id or a whole W3C `traceparent`) and every execution started below carries it.

Inside a step it is the trace id of the step's execution.
"""
