"""One HTTP call, with the standard library: a webhook needs no more, and nobody has to install anything.

It is made in a worker thread. A redirect is not followed: what was signed for one place is nobody
else's business. Whoever answers byte by byte is hung up on: he would hold up the next calls, and the
end of the process.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio.to_thread

if TYPE_CHECKING:
    from http.client import HTTPConnection

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]

TIMEOUT_S: Final = 10.0  # to connect, and again for the answer; what takes longer is done after answering
CALL_S: Final = 3 * TIMEOUT_S  # for all of a call, whose answer may come in many parts


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Make the call and return the status it was answered with. Raises whatever keeps it from being made."""
    connection, target = _line_to(url)
    is_over = threading.Event()
    try:
        with anyio.fail_after(CALL_S):
            return await anyio.to_thread.run_sync(
                _post, connection, target, headers, body, is_over, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer within {CALL_S:g} seconds") from None
    finally:
        is_over.set()
        _hang_up(connection)


def host_of(url: str) -> str:
    """What a log may say of an address: who knows the path of many a webhook can call it."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "?"


def _line_to(url: str) -> tuple[HTTPConnection, str]:
    """The connection, not made yet, and what is asked for through it. Raises ValueError."""
    from http import client  # noqa: PLC0415  what few need, few pay for

    schemes: dict[str, type[HTTPConnection]] = {
        "http": client.HTTPConnection,
        "https": client.HTTPSConnection,
    }
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{url!r} is no address that begins with http:// or https://")
    kind = schemes[parts.scheme]
    connection = kind(parts.hostname, parts.port or kind.default_port, timeout=TIMEOUT_S)
    return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _hang_up(connection: HTTPConnection) -> None:
    """Let a thread that still waits for an answer hear that there will be none."""
    line: socket.socket | None = connection.sock
    if line is not None:
        with suppress(OSError):
            socket.socket.shutdown(line, socket.SHUT_RDWR)  # past what TLS would first make of it


def _post(
    connection: HTTPConnection,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    is_over: threading.Event,
) -> int:
    from http import client  # noqa: PLC0415  what few need, few pay for

    try:
        connection.connect()
        if is_over.is_set():  # nobody could hang up before there was a line
            raise ConnectionAbortedError("it was given up before anybody answered")
        connection.request("POST", target, body, {"content-type": "application/json", **headers})
        return int(connection.getresponse().status)
    except client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
