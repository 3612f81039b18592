"""Addresses of stores: what kind they are of, and as people may see them."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

POSTGRES: Final = ("postgresql", "postgres")  # the schemes of its addresses


def without_password(location: str) -> str:
    """The location without any password in it; the path of a file stays as it is."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    user, at, host = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + at + host
    options = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if "password" not in pair[0]]
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(options, safe="/,:")))
