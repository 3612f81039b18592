"""Addresses of stores: what kind they are of, and as people may see them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

POSTGRES: Final = ("postgresql", "postgres")  # the schemes of its addresses
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?", re.ASCII)
_OPTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def is_address(location: str) -> bool:
    """Whether it falls into the parts that were meant.

    A `/`, `?` or `#` in a password that is not written %2F and the like ends the host before it.
    """
    try:
        parts = urlsplit(location)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return (
        "@" not in parts.path + parts.fragment
        and (parts.path != "" or "@" in parts.netloc or "@" not in parts.query)
        and all(map(_HOST.fullmatch, hosts))
        and all(map(_OPTION.fullmatch, names))
    )


def without_password(location: str) -> str:
    """The location without any password in it; the path of a file stays as it is.

    Of what cannot be read as an address nobody knows where the password is: only the scheme is left.
    """
    if "://" not in location:
        return location
    if not is_address(location):
        return location.partition("://")[0] + "://…"
    parts = urlsplit(location)
    user, at, host = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + at + host
    options = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if "password" not in pair[0]]
    query = urlencode(options, safe="/,:")
    shown = urlunsplit(parts._replace(scheme="", netloc="", query=query))
    return f"{parts.scheme}://{netloc}{shown}"  # also where there is no host, as for a socket
