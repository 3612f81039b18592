"""Telling others of what becomes of executions: signed calls, written first and made after."""

from perdure.runtime.webhooks.signing import InvalidSignature, sign, verify

__all__ = ["InvalidSignature", "sign", "verify"]
