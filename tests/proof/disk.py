"""A disk that remembers what was written when, can lose power, and can fail at any call.

It is a file system of SQLite's (a VFS) over real files in a folder: everything reaches the files at
once, and every write, truncation, sync, creation and removal is written down. From what was written
down an `Image` is made: what may be found after the power went at that moment. What a completed sync
covered is there; of what came after it, any part: nothing, everything, a beginning that ends inside
a write, or any subset of its sectors. New names and removals are ordered among each other, as
journalled file systems keep them, and are sure once a new file has been synced or the folder has.

`Fault` fails calls instead, as SQLite's own tests do: the n-th one, once, or it and all after it. A
sync that fails is as bad as on the systems people have: what it should have covered is no longer on
its way, so that a later sync that succeeds says nothing of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

SECTORS: Final = (512, 4_096)
COMPANIONS: Final = ("", "-journal", "-wal")
SHM_BYTES: Final = 32_768

Op = tuple[str, Any, Any, Any]


class Fault:
    """Fails the calls to a disk that come at a certain place."""

    def __init__(self, *, at: int, error: Callable[[str], apsw.Error | None], for_good: bool) -> None:
        """`error` says for a kind of call what it fails with, None that it cannot; those are not counted."""
        self.calls = 0
        self.hits: list[str] = []
        self.is_mended = False
        self.at = at
        self._error = error
        self._for_good = for_good

    def hit(self, call: str) -> None:
        """A call is made. Raises what it fails with."""
        error = self._error(call)
        if error is None or self.is_mended:
            return
        self.calls += 1
        if self.calls == self.at or (self._for_good and self.calls > self.at):
            self.hits.append(call)
            raise error


class Disk(apsw.VFS):
    """Remembers what happens to the files in one folder."""

    def __init__(self, name: str, folder: Path) -> None:
        """Registered with apsw under that name until it is unregistered."""
        self.name = name
        self.ops: list[Op] = []
        self.placed = 0  # operations that only say what was there before
        self.fault: Fault | None = None
        self._folder = str(folder)
        self._inodes: dict[str, int] = {}
        self._count = 0
        super().__init__(name, "", maxpathname=1_024)

    def place(self, path: Path) -> None:
        """A file that is there already, and on the disk."""
        self._name(str(path))
        self.ops.append(("placed", self._inodes[str(path)], path.read_bytes(), None))
        self.ops.append(("folder", None, None, None))
        self.placed = len(self.ops)

    def call(self, kind: str) -> None:
        """A call that may fail."""
        if self.fault is not None:
            self.fault.hit(kind)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """A file of SQLite's; those without a name, or elsewhere, are nobody's business."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not path.startswith(self._folder):
            return super().xOpen(name, flags)
        self.call("open")
        is_new = path not in self._inodes
        file = _File(self, path, name, flags)
        if is_new:
            self._name(path)
        file.inode = self._inodes[path]
        file.is_new = is_new and path.endswith(COMPANIONS[1:])
        return file

    def xDelete(self, path: str, sync: bool) -> None:
        """A file is no more; `sync` brings that to the disk."""
        self.call("delete")
        super().xDelete(path, sync)
        if self._inodes.pop(path, None) is not None:
            self.ops.append(("unlink", None, Path(path).name, None))
        if sync:
            self.ops.append(("folder", None, None, None))

    def rewrite(self, path: str) -> None:
        """All that is in a file is written once more, and synced. Raises OSError where a call is to fail."""
        inode = self._inodes[path]
        try:
            self.call("write")
            self.ops.append(("write", inode, 0, Path(path).read_bytes()))
            try:
                self.call("sync")
            except apsw.Error:
                self.ops.append(("forget", inode, None, None))
                raise
        except apsw.Error as error:
            raise OSError(str(error)) from error
        self.ops.append(("sync", inode, None, None))

    def _name(self, path: str) -> None:
        self._count += 1
        self._inodes[path] = self._count
        self.ops.append(("link", self._count, Path(path).name, None))


class _File(apsw.VFSFile):
    """One open file of a disk."""

    inode = 0
    is_new = False

    def __init__(self, disk: Disk, path: str, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.call("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.call("write")
        super().xWrite(data, offset)
        self._disk.ops.append(("write", self.inode, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._disk.call("truncate")
        super().xTruncate(size)
        self._disk.ops.append(("truncate", self.inode, size, None))

    def xSync(self, flags: int) -> None:
        try:
            self._disk.call("sync")
        except apsw.Error:
            self._disk.ops.append(("forget", self.inode, None, None))
            raise
        super().xSync(flags)
        self._disk.ops.append(("sync", self.inode, None, None))
        if self.is_new:  # SQLite syncs the folder with the first sync of a log or journal that it has made
            self.is_new = False
            self._disk.ops.append(("folder", None, None, None))


class Platter:
    """What is on the disk for sure, and what is on its way, at one point of what happened."""

    def __init__(self, chance: random.Random | None = None) -> None:
        """Nothing. `chance` says what a failed sync leaves."""
        self._chance = chance or random.Random(0)
        self.sure: dict[int, bytearray] = {}
        self.pending: dict[int, list[Op]] = {}
        self.names: dict[str, int] = {}
        self.renames: list[Op] = []

    def apply(self, op: Op) -> None:
        """Go on by one."""
        kind, inode, first, _ = op
        if kind in {"write", "truncate"}:
            self.pending.setdefault(inode, []).append(op)
        elif kind == "sync":
            content = self.sure.setdefault(inode, bytearray())
            for each in self.pending.pop(inode, ()):
                _carry_out(content, each)
        elif kind == "forget":
            content = self.sure.setdefault(inode, bytearray())
            for each in _survivors(self.pending.pop(inode, []), self._chance):
                _carry_out(content, each)
        elif kind == "placed":
            self.sure[inode] = bytearray(first)
        elif kind == "folder":
            self.names = self._named(len(self.renames))
            self.renames.clear()
        else:
            self.renames.append(op)

    def image(self, chance: random.Random) -> dict[str, bytes]:
        """What may be found after a power loss now, by file name."""
        names = self._named(chance.randint(0, len(self.renames)))
        return {name: bytes(self._content(inode, chance)) for name, inode in names.items()}

    def _named(self, count: int) -> dict[str, int]:
        names = dict(self.names)
        for kind, inode, name, _ in self.renames[:count]:
            if kind == "link":
                names[name] = inode
            else:
                names.pop(name, None)
        return names

    def _content(self, inode: int, chance: random.Random) -> bytearray:
        content = bytearray(self.sure.get(inode, b""))
        noise = chance.random() < 0.3  # what a file grew by may hold anything where it was not written
        for op in _survivors(self.pending.get(inode, []), chance):
            _carry_out(content, op, chance if noise else None)
        return content


def _survivors(ops: list[Op], chance: random.Random) -> list[Op]:
    """Which parts of what was not synced have reached the disk."""
    mode = chance.choice(("nothing", "everything", "beginning", "torn", "subset", "subset"))
    if mode == "nothing" or not ops:
        return []
    if mode == "everything":
        return ops
    sector = chance.choice(SECTORS)
    if mode == "subset":
        share = chance.choice((0.1, 0.5, 0.9))
        return [part for op in ops for part in _sectors(op, sector) if chance.random() < share]
    count = chance.randrange(len(ops))
    if mode == "beginning":
        return ops[:count]
    parts = _sectors(ops[count], sector)
    return ops[:count] + parts[: chance.randint(0, len(parts))]


def _sectors(op: Op, size: int) -> list[Op]:
    """A write cut where the disk's sectors end; anything else is whole or not at all."""
    kind, inode, offset, data = op
    if kind != "write":
        return [op]
    parts: list[Op] = []
    begin = 0
    while begin < len(data):
        end = min(len(data), begin + size - (offset + begin) % size)
        parts.append(("write", inode, offset + begin, data[begin:end]))
        begin = end
    return parts


def _carry_out(content: bytearray, op: Op, noise: random.Random | None = None) -> None:
    kind, _, first, data = op
    if kind == "truncate":
        del content[first:]
        return
    gap = first - len(content)
    if gap > 0:
        content += bytes(gap) if noise is None else noise.randbytes(gap)
    content[first : first + len(data)] = data


def lay_out(folder: Path, image: dict[str, bytes], chance: random.Random) -> None:
    """Make an image real; of the shared memory, which no crash leaves anything sure of, any remains."""
    for name, content in image.items():
        (folder / name).write_bytes(content)
        shm = folder / f"{name}-shm"
        match chance.randrange(3) if not name.endswith(COMPANIONS[1:]) else 0:
            case 1:
                shm.write_bytes(bytes(SHM_BYTES))
            case 2:
                shm.write_bytes(chance.randbytes(SHM_BYTES))
