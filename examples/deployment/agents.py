"""The agents of the deployment: build a zipapp, test and scan its source, release it, verify it.

Every effect is on the disk below `target` and may be repeated: a build is named by the digest of its
source, a release by its build, and `current` is switched in one rename. So a deployment that was
killed goes on with `perdure resume`, wherever it stopped.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import sys
import zipapp
from pathlib import Path

import anyio
import msgspec

from perdure.runtime import Agents, StepContext

PACKAGE = "slugger"
DIGEST_CHARS = 12  # enough to tell the builds of one program apart, short enough to read
SAMPLE = ("Crème brûlée!", "creme-brulee")  # what the released program is asked, and its answer

agents = Agents()


class DeploymentFailed(Exception):
    """A stage found the program not fit for release; the message says which and why."""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A built program: the copy of its source, and the archive made from it."""

    name: str
    version: str
    source: str
    archive: str


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """How many tests have passed."""

    tests: int


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings there are, none of them serious."""

    findings: int


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What `current` points at now, and the other release it pointed at before."""

    path: str
    previous: str | None


@agents.agent("builder", capabilities={"build"})
def builder(project: str, target: str) -> Build:
    """Copy the source aside and pack it into one file that Python can run."""
    source = Path(project).resolve()
    version = (source / PACKAGE / "VERSION").read_text(encoding="utf-8").strip()
    name = f"{version}-{digest_of(source)}"
    folder = Path(target).resolve() / "builds" / name
    archive = folder / f"{PACKAGE}.pyz"
    copy = folder / "source"
    shutil.copytree(source, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    unfinished = archive.with_suffix(".part")
    zipapp.create_archive(copy, unfinished, main=f"{PACKAGE}.__main__:main", filter=belongs_in_archive)
    unfinished.replace(archive)
    return Build(name=name, version=version, source=str(copy), archive=str(archive))


@agents.agent("tester", capabilities={"assessment"})
async def tester(build: Build) -> Tested:
    """Run the suite of the built source."""
    _, said = await run("-B", "-m", "unittest", "discover", "-s", "tests", "-t", ".", cwd=build.source)
    ran = re.search(r"^Ran (\d+) tests?", said, re.MULTILINE)
    if ran is None or ran[1] == "0":
        raise DeploymentFailed(f"the suite of {build.name} ran no test: {said}")
    return Tested(tests=int(ran[1]))


@agents.agent("scanner", capabilities={"assessment"})
async def scanner(build: Build) -> Scanned:
    """Scan the built source with bandit; medium and high findings stop the release."""
    if importlib.util.find_spec("bandit") is None:
        raise DeploymentFailed('bandit is not installed: pip install "perdure[examples]"')
    printed, _ = await run("-m", "bandit", "-q", "-r", "-f", "json", "--exit-zero", PACKAGE, cwd=build.source)
    found = msgspec.json.decode(printed)["results"]
    serious = [each["issue_text"] for each in found if each["issue_severity"] != "LOW"]
    if serious:
        raise DeploymentFailed(f"bandit refuses {build.name}: {'; '.join(serious)}")
    return Scanned(findings=len(found))


@agents.agent("releaser", capabilities={"release"})
def releaser(prompt: str, build: Build, target: str, context: StepContext) -> Release:
    """Put the archive below `releases` with a note, then switch `current` to it at once."""
    root = Path(target).resolve()
    release = root / "releases" / build.name
    release.mkdir(parents=True, exist_ok=True)
    shutil.copy2(build.archive, release)
    note = f"{prompt}\nexecution {context.execution_id}\n"
    (release / "RELEASE.txt").write_text(note, encoding="utf-8")
    current, previous = root / "current", root / "previous"
    if current.is_symlink() and current.resolve() != release:
        switch(previous, to=current.resolve())
    switch(current, to=release)
    return Release(path=str(release), previous=str(previous.resolve()) if previous.is_symlink() else None)


@agents.agent("verifier", capabilities={"assessment"})
async def verifier(build: Build, release: Release, target: str) -> str:
    """Run what was released; if it does not answer well, the deployment fails, and its release is undone."""
    current = Path(target) / "current"
    archive = str(current / f"{PACKAGE}.pyz")
    question, answer = SAMPLE
    said = [(await run(archive, argument))[0].strip() for argument in ("--version", question)]
    if said == [build.version, answer]:
        return f"{PACKAGE} {build.version} is live in {release.path}"
    raise DeploymentFailed(f"{build.name} answers {said}, not {[build.version, answer]}")


@agents.agent("withdrawer", capabilities={"withdrawal"})
def withdrawer(release: Release, target: str) -> str:
    """Undo a release: switch back to what was there before, unless another one is there by now."""
    current = Path(target).resolve() / "current"
    if current.resolve() != Path(release.path):
        return f"current is {current.resolve()}"
    if release.previous is None:
        current.unlink(missing_ok=True)
        return "nothing is released, for there was none before"
    switch(current, to=Path(release.previous))
    return f"current is {release.previous}"


def digest_of(folder: Path) -> str:
    """Name the content of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGEST_CHARS]


def belongs_in_archive(path: Path) -> bool:
    """Leave the tests out of the archive."""
    return path.parts[0] == PACKAGE


def switch(link: Path, *, to: Path) -> None:
    """Point the link somewhere else, in one rename: it is never missing and never half made."""
    unfinished = link.with_name(f".{link.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(os.path.relpath(to, link.parent))
    unfinished.replace(link)


async def run(*arguments: str, cwd: str | None = None) -> tuple[str, str]:
    """Run this Python with arguments; return what it printed and what it said on stderr."""
    ended = await anyio.run_process([sys.executable, *arguments], check=False, cwd=cwd)
    printed, said = ended.stdout.decode(), ended.stderr.decode()
    if ended.returncode != 0:
        raise DeploymentFailed(f"python {' '.join(arguments)} ended with {ended.returncode}: {said[-2000:]}")
    return printed, said
