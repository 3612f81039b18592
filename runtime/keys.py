"""Where the keys of an encrypted store come from: a file, a variable, or a function of the user's."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from perdure.runtime.arguments import InvalidArgument
from perdure.store.scripts.sealing import KEY_BYTES, KEY_ID, KeyMissing, Keys

FILE: Final = "file:"
VARIABLE: Final = "env:"
HOW: Final = (
    "each line (or part between commas) is ID:BASE64 of 32 bytes, the first is what is used from now on"
)


class Keyring:
    """Several keys by their ids, one of which seals what is new.

    `keys` is a mapping, or a function that fetches a key by its id from wherever you keep keys; it is
    asked once for each id, and raises LookupError for one that it does not have.
    """

    def __init__(self, current: str, keys: Mapping[str, bytes] | Callable[[str], bytes]) -> None:
        """Nothing is fetched yet. Raises InvalidArgument for an id that cannot be one, and for no keys."""
        _check_kinds(current, keys)
        if not KEY_ID.fullmatch(current):
            raise InvalidArgument(f"the key id {current!r}: 1 to 64 letters, digits, '.' and '-'")
        self._current = current
        self._fetch = keys.__getitem__ if isinstance(keys, Mapping) else keys
        self._known: dict[str, bytes] = {}

    @property
    def current(self) -> str:
        """The id of the key that new payloads are sealed with."""
        return self._current

    def key(self, key_id: str) -> bytes:
        """The 32 bytes of that key. Raises KeyMissing."""
        if key_id not in self._known:
            try:
                self._known[key_id] = self._fetch(key_id)
            except LookupError:
                raise KeyMissing(key_id) from None
        return self._known[key_id]


def _check_kinds(current: Any, keys: Any) -> None:
    """Raise InvalidArgument, without saying what it is instead: that may be a key."""
    if not isinstance(current, str) or not (isinstance(keys, Mapping) or callable(keys)):
        raise InvalidArgument("Keyring: give the id of a key, and a mapping of ids to keys or a function")


def keys_of(source: Keys | str | None) -> Keys | None:
    """The keys themselves, or those that `file:PATH` or `env:NAME` leads to. Raises InvalidArgument."""
    if not isinstance(source, str):
        if source is not None and not hasattr(source, "current"):
            raise InvalidArgument("keys: give a Keyring, file:PATH or env:NAME")  # not what it is: a key?
        return source
    if source.startswith(FILE):
        path = source.removeprefix(FILE)
        try:
            return _parsed(Path(path).read_text(encoding="utf-8-sig", errors="replace"), source)
        except OSError as error:
            raise InvalidArgument(f"keys {source}: cannot be read: {error.strerror}") from error
    if source.startswith(VARIABLE):
        text = os.environ.get(source.removeprefix(VARIABLE))
        if text is None:
            raise InvalidArgument(f"keys {source}: there is no such variable")
        return _parsed(text, source)
    raise InvalidArgument("keys: give file:PATH or env:NAME, and never a key itself: it would be seen")


def _parsed(text: str, source: str) -> Keyring:
    keys: dict[str, bytes] = {}
    parts = [part.strip() for part in re.split(r"[\n,]", text)]
    for part in parts:
        if not part or part.startswith("#"):
            continue
        key_id, _, encoded = part.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:  # no base64, or no ASCII
            key = b""
        if not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES or key_id in keys:
            raise InvalidArgument(f"keys {source}: part {len(keys) + 1} is no key: {HOW}")
        keys[key_id] = key
    if not keys:
        raise InvalidArgument(f"keys {source}: there is none: {HOW}")
    return Keyring(next(iter(keys)), keys)
