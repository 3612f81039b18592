"""What differs between two things of the same shape, path by path. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs; `path` is such as `steps.build.state`, null where it is not there."""

    path: str
    before: Any
    after: Any


def changes(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What has become of each name: those that were there in their order, then those that are new."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(path=f"{path}.{name}" if path else name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name) != after.get(name) or (name in before) is not (name in after)
    ]
