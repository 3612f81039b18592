"""One call ends in time, whatever the other side does, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from perdure.runtime.webhooks import posting

pytestmark = pytest.mark.integration


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of somebody who answers byte by byte, each well in time, and never comes to an end."""
    is_over = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as caller:
            caller.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not is_over.wait(0.02):
                caller.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        is_over.set()


def test_who_answers_byte_by_byte_holds_up_neither_the_next_call_nor_the_end_of_the_process(
    dripping: str, monkeypatch: pytest.MonkeyPatch
):
    """Each byte comes within the time for one; all of them together have a time, too."""
    monkeypatch.setattr(posting, "CALL_S", 0.2)
    before = set(threading.enumerate())

    async def main() -> None:
        with anyio.fail_after(5), pytest.raises(TimeoutError, match=r"no answer within 0\.2 seconds"):
            await posting.post(dripping, {}, b"{}")

    anyio.run(main)
    callers = [thread for thread in threading.enumerate() if thread not in before]
    for thread in callers:
        thread.join(5)
    assert not any(thread.is_alive() for thread in callers)


def test_a_call_that_is_given_up_while_it_finds_a_line_is_not_made_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
):
    """It has failed, and is made again later: it would come twice without need."""
    monkeypatch.setattr(posting, "CALL_S", 0.05)
    is_given_up = threading.Event()
    connect = socket.create_connection

    def slowly(*given: Any, **options: Any) -> socket.socket:
        is_given_up.wait(5)
        return connect(*given, **options)

    monkeypatch.setattr(socket, "create_connection", slowly)
    before = set(threading.enumerate())

    async def main(url: str) -> None:
        with pytest.raises(TimeoutError):
            await posting.post(url, {}, b"{}")
        is_given_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        anyio.run(main, f"http://127.0.0.1:{listener.getsockname()[1]}/hook")
        caller, _ = listener.accept()
        with caller:
            assert caller.recv(100) == b""
    for thread in set(threading.enumerate()) - before:
        thread.join(5)


def test_a_numbered_host_without_a_port_is_called_at_the_port_of_its_scheme():
    """The last part of an IPv6 address is not one."""
    for url, port in (("http://[::1]/hook", 80), ("https://[fe80::abcd]/hook", 443)):
        line, _ = posting._line_to(url)
        assert (f"[{line.host}]" in url, line.port) == (True, port)
