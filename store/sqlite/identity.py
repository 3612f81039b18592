"""Which store this is: made with it, renewed with every copy, asked for whenever a connection is made.

Two stores never mix. A process that has a store open and comes to another one under the same name (a
file put in its place, a schema dropped and made again) is told so, and writes nothing to it.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from typing import Final

from perdure.store.records import Record
from perdure.store.scripts.rows import moment

ASK: Final = "SELECT id, made_at, copied_from FROM perdure_identity"
RENEW: Final = """
UPDATE perdure_identity SET copied_from = id, id = (
    SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-a' || substr(h, 18, 3)
           || '-' || substr(h, 21, 12)
    FROM (SELECT lower(hex(randomblob(16))) AS h)
)
"""


class Identity(Record, frozen=True, kw_only=True):
    """A store's name for itself; `copied_from` is that of the store it was a copy of."""

    id: str
    made_at: datetime
    copied_from: str | None


def identity_of(connection: sqlite3.Connection) -> Identity | None:
    """What the file calls itself; None where its schema is older than that. Raises sqlite3.Error."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'perdure_identity'").fetchone():
        return None
    id_, made_at, copied_from = connection.execute(ASK).fetchone()
    return Identity(id=id_, made_at=moment(made_at), copied_from=copied_from)


def place_of(path: str) -> tuple[int, int] | None:
    """Which file bears that name, as the system tells files apart; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  asked for before every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
