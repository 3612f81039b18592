"""Payloads under lock and key: encrypted on their way into the database, opened on their way out.

AES-256-GCM, of the `cryptography` library: authenticated (what was changed by hand is refused, not
misread) and a few microseconds a payload. Fernet would do, too, and costs twice the time and a second
base64. A nonce is drawn for each payload, so one key is good for 2^32 of them: rotate it long before.

A sealed payload is a JSON text, `"$sealed:1:KEY:…"`, in the column where the payload would be; of an
error only the message and the stack are sealed. Contexts, outputs, data of events, messages, answers,
signals and calls of webhooks are covered; states, times, names, definitions and schedules stay readable,
for the machine looks at them. Nothing here is imported, and no script wrapped, where a store has no keys.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from perdure.store.errors import PerdureError, StoreCorrupt, StoreError, StoreUnavailable
from perdure.store.records import Error
from perdure.store.script import Cursor, Many, Script, Several
from perdure.store.scripts.transitions import claim
from perdure.store.writes import Claim, Delta, Write

T = TypeVar("T")

MARK: Final = "$sealed:1:"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
PAYLOADS: Final = frozenset({"context", "output", "data", "answer", "payload"})
PROOF: Final = b'"perdure"'  # what is sealed to tell a key from another one of its name

_TOKEN: Final = re.compile(r'"\$sealed:1:([A-Za-z0-9.-]+):([A-Za-z0-9+/=]+)"')


class KeyMissing(StoreError):
    """Something in the store is sealed with a key that is not at hand, or is another one."""

    def __init__(self, key_id: str, *, why: str = "which is not among the keys given") -> None:
        """`key_id` is what it was sealed with."""
        super().__init__(
            f"the store is encrypted with the key {key_id!r}, {why}: give it with PERDURE_KEYS or keys=…"
        )
        self.key_id = key_id


class KeyUnavailable(StoreUnavailable):
    """The service that keeps the keys gives none just now: nothing can be written or read, it may pass."""

    def __init__(self, key_id: str, error: BaseException) -> None:
        """`error` is what asking for that key came to."""
        super().__init__(
            f"the key {key_id!r} cannot be had ({type(error).__name__}: {error}): see to what fetches it; "
            "the work goes on by itself"
        )
        self.key_id = key_id


class Keys(Protocol):
    """Where keys come from: a file, the environment, a service of the user's."""

    @property
    def current(self) -> str:
        """The id of the key that new payloads are sealed with."""
        ...

    def key(self, key_id: str) -> bytes:
        """The 32 bytes of that key. Raises KeyMissing; whatever else it raises is taken for an outage."""
        ...


class Place(msgspec.Struct, frozen=True):
    """How far a resealing has come: which of the columns with payloads, and behind which of its rows."""

    column: int = 0
    after: tuple[int | str, ...] = ()


class Reseal(Write, frozen=True, kw_only=True):
    """Seal what is not sealed with the current key anew, at most `limit` rows, from there on.

    Answers `Resealed`. A pass from the beginning that finds nothing is the end: then the older keys go.
    """

    keys: Any
    limit: int
    place: Place = Place()


class Resealed(msgspec.Struct, frozen=True):
    """The answer to `Reseal`: how many rows it was, where to go on, whether there was nothing left."""

    rows: int
    place: Place
    is_done: bool


class KeyedClaim(Claim, frozen=True, kw_only=True):
    """A claim whose answer is opened."""

    keys: Any


def claim_keyed(write: KeyedClaim) -> Script[Any]:
    """Claim, and open what is read."""
    return opening(claim(write), write.keys)


def sealed_writes(writes: Sequence[Write], keys: Keys) -> list[Write]:
    """The same writes with their payloads sealed."""
    return [_sealed_write(write, keys) for write in writes]


def _sealed_write(write: Write, keys: Keys) -> Write:
    if type(write) is Claim:
        return KeyedClaim(**msgspec.structs.asdict(write), keys=keys)
    made: Write = _sealed_struct(write, keys)
    return made


def _sealed_struct(struct: Any, keys: Keys) -> Any:
    """The struct with what it holds of payloads sealed; the same one if there is nothing."""
    changed: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        after = _sealed_value(name, value, keys)
        if after is not value:
            changed[name] = after
    return msgspec.structs.replace(struct, **changed) if changed else struct


def _sealed_value(name: str, value: Any, keys: Keys) -> Any:
    if isinstance(value, bytes):
        if name == "error":
            return sealed_error(value, keys)
        return seal(value, keys) if name in PAYLOADS else value
    if isinstance(value, Delta):
        return _sealed_struct(value, keys)
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return tuple(_sealed_struct(part, keys) for part in value)
    if isinstance(value, dict):
        return {key: _sealed_value(key, part, keys) for key, part in value.items()}
    return value


def seal(payload: bytes, keys: Keys) -> bytes:
    """A payload as the column keeps it. Raises KeyMissing."""
    key_id = keys.current
    nonce = os.urandom(NONCE_BYTES)
    secret = _cipher(keys, key_id).encrypt(nonce, payload, key_id.encode())
    return b'"%b%b:%b"' % (MARK.encode(), key_id.encode(), base64.b64encode(nonce + secret))


def sealed_error(encoded: bytes, keys: Keys) -> bytes:
    """An error whose kind and place stay readable."""
    error = msgspec.json.decode(encoded, type=Error)
    hidden = {
        name: seal(msgspec.json.encode(text), keys).decode()[1:-1]
        for name, text in (("message", error.message), ("stack", error.stack))
        if text is not None
    }
    return msgspec.json.encode(msgspec.structs.replace(error, **hidden))


def opening(script: Script[T], keys: Keys) -> Script[T]:
    """The same conversation, in which every sealed text is opened before the script sees it."""
    try:
        statement = next(script)
        while True:
            cursor = yield statement
            if isinstance(statement, Several):
                cursor = cast("Cursor", [_Opened(each, keys) for each in cursor])
            elif not isinstance(statement, Many):
                cursor = _Opened(cursor, keys)
            statement = script.send(cursor)
    except StopIteration as done:
        answer: T = done.value
        return answer


class _Opened:
    """A cursor that opens what is sealed."""

    __slots__ = ("_cursor", "_keys")

    def __init__(self, cursor: Cursor, keys: Keys) -> None:
        self._cursor = cursor
        self._keys = keys

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    def fetchone(self) -> Any:
        row = self._cursor.fetchone()
        return None if row is None else self._opened(row)

    def fetchall(self) -> list[Any]:
        return [self._opened(row) for row in self._cursor.fetchall()]

    def __iter__(self) -> Iterator[Any]:
        return map(self._opened, self._cursor)

    def _opened(self, row: Any) -> tuple[Any, ...]:
        return tuple(
            opened(part, self._keys) if isinstance(part, str) and MARK in part else part for part in row
        )


def opened(text: str, keys: Keys) -> str:
    """A column's text with what is sealed in it opened. Raises KeyMissing, StoreCorrupt."""
    if not text.startswith(('"' + MARK, '{"type":')):
        return text  # a payload from before there were keys, which speaks of such things
    return _TOKEN.sub(lambda found: _open(found[1], found[2], keys), text)


def _open(key_id: str, encoded: str, keys: Keys) -> str:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    cipher = _cipher(keys, key_id)
    try:
        raw = base64.b64decode(encoded)
        plain: bytes = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], key_id.encode())
    except (InvalidTag, ValueError):  # changed, or cut short
        raise StoreCorrupt(
            f"something in the store that was sealed with the key {key_id!r} was changed: restore a backup"
        ) from None
    return plain.decode()


def _cipher(keys: Keys, key_id: str) -> Any:
    try:
        key = keys.key(key_id)
    except PerdureError:
        raise
    except BaseException as error:  # other people's code, in the middle of a commit
        raise KeyUnavailable(key_id, error) from error
    if not isinstance(key, bytes):
        raise StoreError(f"the key {key_id!r} is a {type(key).__name__}: give its {KEY_BYTES} bytes")
    return _made_cipher(key)


@lru_cache(maxsize=16)
def _made_cipher(key: bytes) -> Any:
    """Raises StoreError where the library is not installed."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StoreError(
            "encryption needs the cryptography library: pip install 'perdure[encryption]'"
        ) from error
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"a key has {KEY_BYTES} bytes, not {len(key)}: make one with os.urandom({KEY_BYTES})"
        )
    return AESGCM(key)


def enter(keys: Keys | None, *, may_write: bool = True) -> Script[None]:
    """See that the keys at hand are those that the store is sealed with. Raises KeyMissing."""
    known = dict((yield "SELECT id, proof FROM workflow_keys", ()).fetchall())
    for key_id, proof in known.items():
        if keys is None:
            raise KeyMissing(key_id)
        try:
            opened(proof, keys)
        except StoreCorrupt:
            raise KeyMissing(key_id, why="and the one given as such is another") from None
    if keys is not None and keys.current not in known and may_write:
        proof = seal(PROOF, keys).decode()
        yield (
            "INSERT INTO workflow_keys (id, proof) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (keys.current, proof),
        )
