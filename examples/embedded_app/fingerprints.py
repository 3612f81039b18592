"""A workflow for a web app: read every file of a folder and find those that are the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import anyio
import msgspec

from perdure.runtime import From, StepContext, Workflow

CHUNK_BYTES = 65_536  # read between two chances to be paused
BYTES_PER_SECOND = 50_000_000  # leaves the disk to others; a caller may ask for less

fingerprints = Workflow("fingerprints", version="1.0", description="Find equal files below a folder.")


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: groups of equal files, and the bytes that could be saved."""

    files: int
    bytes: int
    groups: list[list[str]]
    wasted_bytes: int


@fingerprints.step
def catalogue(folder: str) -> list[str]:
    """List the files below the folder."""
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


@fingerprints.step
async def digest(
    catalogue: list[str],
    step: StepContext,
    rate: Annotated[int, From("bytesPerSecond")] = BYTES_PER_SECOND,
) -> dict[str, str]:
    """Read every file, no faster than `rate` bytes per second, and report after each how far it is."""
    digests = {}
    for number, path in enumerate(catalogue, start=1):
        digest = hashlib.sha256()
        async with await anyio.open_file(path, "rb") as file:
            while chunk := await file.read(CHUNK_BYTES):
                digest.update(chunk)
                await anyio.sleep(len(chunk) / rate)
        digests[path] = digest.hexdigest()
        step.heartbeat({"files": number, "of": len(catalogue)})
    return digests


@fingerprints.step
def duplicates(digest: dict[str, str]) -> Duplicates:
    """Group the files by what is in them."""
    equal: dict[str, list[str]] = defaultdict(list)
    for path, fingerprint in digest.items():
        equal[fingerprint].append(path)
    sizes = {path: Path(path).stat().st_size for path in digest}
    groups = sorted(sorted(paths) for paths in equal.values() if len(paths) > 1)
    return Duplicates(
        files=len(digest),
        bytes=sum(sizes.values()),
        groups=groups,
        wasted_bytes=sum(sizes[path] for group in groups for path in group[1:]),
    )
