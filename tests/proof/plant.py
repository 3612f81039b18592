"""Plants bugs, one at a time, in a copy of the repository, and notes which tests catch each.

A program of its own: `python plant.py [--only WORDS] [--missing]`. The bugs are in `planted.toml`. A test
that fails is run again without the bug: unless it passes then, it has caught nothing. What was found goes
to `planted.jsonl`, and `docs/planted-bugs.md` is written from there. Exits 1 when a bug was not caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
DEFINITIONS: Final = HERE / "planted.toml"
RESULTS: Final = HERE / "planted.jsonl"
PAGE: Final = ROOT / "docs" / "planted-bugs.md"
PARTS: Final = ("store", "actors", "runtime")
FAILURES_MAX: Final = 2  # of one selection: enough to see what kind of test catches the bug
SECONDS_MAX: Final = 240  # of one selection; a bug may make tests wait for ever

FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)  # the names of tests

HEAD: Final = """\
# Planted bugs

A suite that has never caught anything may not be able to. So bugs of the kinds that lose work are planted
on purpose, one at a time, in a copy of the repository, and the tests meant to catch them are run there;
those that fail pass again when the bug is taken out. `make planted` does it again and writes this page.
The definitions are in `tests/proof/planted.toml`; a test keeps them true to the code. A selection of tests
ends at its second failure, so there may be more than are listed. Nothing caught "publish before persist"
and "a message marked applied without its effect" when they were first planted; the tests named beside them
were written then.

"""


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """One bug: the text it replaces, which is found once, and the selections of tests meant to catch it."""

    name: str
    does: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file with the bug in it. Raises ValueError unless its place is found once."""
        if text.count(self.before) != 1:
            raise ValueError(
                f"{self.name}: its place is found {text.count(self.before)} times in {self.file}"
            )
        return text.replace(self.before, self.after)


class Catch(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one bug."""

    name: str
    caught_by: tuple[str, ...]
    seconds: float


class BrokenWithoutBug(Exception):
    """The tests cannot tell a bug from none: they fail, or there are none, in the code as it is."""


def bugs() -> list[Bug]:
    """All that are defined."""
    return msgspec.convert(tomllib.loads(DEFINITIONS.read_text())["bug"], list[Bug])


def results() -> dict[str, Catch]:
    """What came of each when it was planted last."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {each.name: each for each in (msgspec.json.decode(line, type=Catch) for line in lines)}


def page(known: Iterable[Bug], found: dict[str, Catch]) -> str:
    """The page that tells it."""
    rows = [f"| {bug.name} | {bug.does} | `{bug.file}` | {_caught(found.get(bug.name))} |" for bug in known]
    head = "| bug | what it does | planted in | caught by |\n|---|---|---|---|\n"
    return HEAD + head + "\n".join(rows) + "\n"


def _caught(catch: Catch | None) -> str:
    if catch is None:
        return "not planted yet"
    return "<br>".join(f"`{each}`" for each in catch.caught_by) or "**nothing**"


class Copy:
    """The repository in a folder of its own, where a bug harms nobody."""

    def __init__(self, root: Path) -> None:
        """Every file that git knows, or would know if it were added."""
        self.root = root
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        namespace = root / "build" / "ns" / "perdure"
        namespace.mkdir(parents=True)
        for part in PARTS:
            (namespace / part).symlink_to(root / part)
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(namespace.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._check_imports()

    def failures(self, selection: str) -> tuple[str, ...]:
        """The tests of `FILE` or `FILE -k WORDS` that fail here. Raises BrokenWithoutBug."""
        file, _, words = selection.partition(" -k ")
        code, said = self._run([file, f"--maxfail={FAILURES_MAX}", *(["-k", words] if words else [])])
        failed = FAILED.findall(said)
        if not failed and code is None:
            return (f"{selection}: no end within {SECONDS_MAX} s",)
        if code not in {0, 1, None}:
            raise BrokenWithoutBug(f"{selection}: pytest says {code}\n{said}")
        return tuple(dict.fromkeys(failed))

    def pass_here(self, tests: Iterable[str]) -> None:
        """Run these alone. Raises BrokenWithoutBug unless all of them pass."""
        names = [test for test in tests if "::" in test]
        code, said = self._run([*names]) if names else (0, "")
        if code != 0:
            raise BrokenWithoutBug(f"{', '.join(names)} fail without a bug, too\n{said}")

    def _run(self, arguments: list[str]) -> tuple[int | None, str]:
        """The exit code of pytest and what it said; no code when it came to no end."""
        options = ["-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *arguments],
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return None, process.communicate()[0]
            return process.returncode, said

    def _check_imports(self) -> None:
        """Bugs planted here have to be met by what runs here."""
        asked = f"import {', '.join(f'perdure.{part} as {part}' for part in PARTS)}"
        asked += f"; print({', '.join(f'{part}.__file__' for part in PARTS)})"
        command = [sys.executable, "-c", asked]
        said = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=True
        ).stdout
        if said.count(str(self.root)) != len(PARTS):
            raise BrokenWithoutBug(f"the copy's code is not what is imported there: {said}")


def plant(copy: Copy, bug: Bug) -> Catch:
    """Plant it, look who notices, take it out again; whoever noticed has to be content then."""
    place = copy.root / bug.file
    text = place.read_text()
    begun = time.monotonic()
    place.write_text(bug.planted(text))
    try:
        noticed = [name for selection in bug.tests for name in copy.failures(selection)]
    finally:
        place.write_text(text)
    copy.pass_here(noticed)
    caught = dict.fromkeys(name.partition("[")[0] for name in noticed)
    return Catch(name=bug.name, caught_by=tuple(caught), seconds=round(time.monotonic() - begun, 1))


def keep(found: dict[str, Catch]) -> None:
    """Write results and page, in the order of the definitions."""
    known = bugs()
    lines = [msgspec.json.encode(found[bug.name]).decode() for bug in known if bug.name in found]
    RESULTS.write_text("\n".join(lines) + "\n")
    PAGE.write_text(page(known, found))


def main() -> None:
    """Plant what is wanted, keep what was found; exit 1 if a bug was not caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="bugs with this in their name")
    parser.add_argument("--missing", action="store_true", help="bugs that no test is known to catch")
    options = parser.parse_args()
    found = results()
    caught = {name for name, catch in found.items() if catch.caught_by and options.missing}
    chosen = [bug for bug in bugs() if options.only in bug.name and bug.name not in caught]
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Copy(Path(folder).resolve())
        for bug in chosen:
            catch = found[bug.name] = plant(copy, bug)
            print(
                f"{catch.seconds:6.1f} s  {bug.name}: {', '.join(catch.caught_by) or 'NOT CAUGHT'}",
                flush=True,
            )
            keep(found)
    sys.exit(not all(found[bug.name].caught_by for bug in chosen))


if __name__ == "__main__":
    main()
