"""One HTTP call, with the standard library: a webhook needs no more, and nobody has to install anything.

It is made in a worker thread. A redirect is not followed: what was signed for one place is nobody
else's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio.to_thread

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]

TIMEOUT_S: Final = 10.0  # to connect, and again for the answer; what takes longer is done after answering


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Make the call and return the status it was answered with. Raises whatever keeps it from being made."""
    return await anyio.to_thread.run_sync(_post, url, headers, body, abandon_on_cancel=True)


def _post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    from http import client  # noqa: PLC0415  what few need, few pay for

    schemes = {"http": client.HTTPConnection, "https": client.HTTPSConnection}
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{url!r} is no address that begins with http:// or https://")
    connection = schemes[parts.scheme](parts.hostname, parts.port, timeout=TIMEOUT_S)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"content-type": "application/json", **headers})
        return int(connection.getresponse().status)
    except client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
