"""A call proves who made it, that it is whole, and when it was made."""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any

import pytest

from perdure.runtime.webhooks import InvalidSignature, sign, verify

BODY = b'{"event":"failed"}'
NOON = 1_750_000_000


def test_the_signature_is_that_of_the_specification():
    """The vector that the Standard Webhooks specification publishes."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = sign(
        b'{"test": 2432232314}', id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1_614_265_330, key=key
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("key", ["a plain key", "whsec_c2VjcmV0"])
def test_what_was_signed_is_verified(key: str):
    """Whatever the case of the headers' names."""
    headers = sign(BODY, id="e1:3:0", timestamp=NOON, key=key)
    assert verify(BODY, headers, key=key, now=NOON + 5) == "e1:3:0"
    assert verify(BODY, {name.upper(): text for name, text in headers.items()}, key=key, now=NOON) == "e1:3:0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": BODY + b" "}, "not that of this body"),
        ({"key": "other"}, "not that of this body"),
        ({"now": NOON + 301}, "seconds ago"),
        ({"now": NOON - 301}, "seconds ago"),
        ({"headers": {"webhook-id": "e2:3:0"}}, "not that of this body"),
        ({"headers": {"webhook-timestamp": str(NOON + 1)}}, "not that of this body"),
        ({"headers": {"webhook-timestamp": "noon"}}, "with 'noon' is no time"),
        ({"headers": {"webhook-timestamp": "9" * 400}}, "is no time"),
        ({"headers": {"webhook-signature": "v1,é"}}, "not that of this body"),
        ({"headers": {"webhook-id": "\udce9"}}, "not that of this body"),
        ({"key": "whsec_%"}, "base64"),
        ({"key": "whsec_é"}, "base64"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(changes: dict, said: str):
    """Body, id, time or key."""
    headers = sign(BODY, id="e1:3:0", timestamp=NOON, key="key") | changes.pop("headers", {})
    given = {"body": BODY, "key": "key", "now": NOON} | changes
    with pytest.raises(InvalidSignature, match=said):
        verify(given["body"], headers, key=given["key"], now=given["now"])


@pytest.mark.parametrize("key", ["", "whsec_", None])
def test_without_a_key_nothing_is_signed_and_nothing_is_believed(key: Any):
    """A variable that is not set, or empty: everybody could sign with that."""
    forged = b64encode(hmac.new(b"", f"e1:3:0.{NOON}.".encode() + BODY, "sha256").digest()).decode()
    headers = {
        "webhook-id": "e1:3:0",
        "webhook-timestamp": str(NOON),
        "webhook-signature": f"v1,{forged}",
    }
    with pytest.raises(InvalidSignature, match="the key is empty"):
        verify(BODY, headers, key=key, now=NOON)
    with pytest.raises(InvalidSignature, match="the key is empty"):
        sign(BODY, id="e1:3:0", timestamp=NOON, key=key)


def test_a_call_without_the_headers_is_refused():
    """Nothing says whose it is."""
    with pytest.raises(InvalidSignature, match="webhook-id"):
        verify(BODY, {}, key="key", now=NOON)
