"""The signature of a webhook's call, in the form of the Standard Webhooks specification. Pure.

Signed is `ID.TIMESTAMP.BODY` with HMAC-SHA256. The id stays the same however often a call is made, so a
receiver that remembers ids takes each only once; the timestamp is that of the attempt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from perdure.store.errors import PerdureError

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
PREFIX: Final = "whsec_"  # of a key that is written in base64
TOLERANCE_S: Final = 300  # between the clocks of both sides; an older call is somebody's recording


class InvalidSignature(PerdureError):
    """A call does not come from whoever has the key, was changed on the way, or is an old one."""


def sign(body: bytes, *, id: str, timestamp: int, key: str) -> dict[str, str]:
    """The headers that prove a call: its id, its time (seconds since 1970), its signature."""
    return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: _signature(body, id, str(timestamp), key)}


def verify(body: bytes, headers: Mapping[str, str], *, key: str, now: float) -> str:
    """The id of a call that is what it says it is; `now` in seconds since 1970. Raises InvalidSignature."""
    given = {name.lower(): value for name, value in headers.items()}
    try:
        id_, timestamp, signatures = given[ID], given[TIMESTAMP], given[SIGNATURE]
    except KeyError as error:
        raise InvalidSignature(f"the header {error} is missing") from None
    try:
        age_s = abs(now - float(int(timestamp)))
    except (ValueError, OverflowError):
        raise InvalidSignature(f"the header {TIMESTAMP!r} with {timestamp!r:.40} is no time") from None
    if age_s > TOLERANCE_S:
        raise InvalidSignature(f"the call was signed {age_s:.0f} seconds ago: more than {TOLERANCE_S}")
    expected = _signature(body, id_, timestamp, key)
    if not any(hmac.compare_digest(_bytes(expected), _bytes(one)) for one in signatures.split()):
        raise InvalidSignature("the signature is not that of this body and this key")
    return id_


def _signature(body: bytes, id_: str, timestamp: str, key: str) -> str:
    signed = hmac.new(_secret(key), _bytes(f"{id_}.{timestamp}.") + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def _bytes(text: str) -> bytes:
    """The text of a header, whatever was in it: a server may have made half characters of foreign bytes."""
    return text.encode("utf-8", "surrogateescape")


def _secret(key: str) -> bytes:
    if not key or key == PREFIX:
        raise InvalidSignature("the key is empty: everybody could sign with that")
    if not key.startswith(PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except ValueError:  # no base64, or no ASCII
        raise InvalidSignature(f"a key that begins with {PREFIX} has to go on in base64") from None
