"""What the documentation shows runs as written and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\s*(?:It )?prints:?\s*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
COMMENTED_OUTPUT = re.compile(r"print\(.*\)\s+# (.+)$", re.MULTILINE)


def programs() -> list[tuple[str, str, str]]:
    """Every complete program in the pages, with what it is said to print."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, (code, printed) in enumerate(BLOCK.findall(page.read_text())):
            if "asyncio.run(" in code:
                expected = printed or "\n".join(COMMENTED_OUTPUT.findall(code)) + "\n"
                found.append((f"{page.name}-{number}", code, expected))
    return found


@pytest.mark.integration
@pytest.mark.parametrize(("code", "expected"), [p[1:] for p in programs()], ids=[p[0] for p in programs()])
def test_a_program_in_the_documentation_runs_and_prints_what_it_says(
    tmp_path: Path, code: str, expected: str
) -> None:
    """In a process and a folder of its own, as a reader would try it."""
    (tmp_path / "program.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line.rstrip() for line in ran.stdout.splitlines()]
    assert lines == [line.rstrip() for line in expected.splitlines()]


LOG_LINE = re.compile(r'\b(?:log\s*\.\s*(?:debug|info|warning|error|exception)|tell)\(\s*"([a-z_]+)"')


def test_every_log_line_is_in_the_table() -> None:
    """Whoever sets up an alarm finds its name there."""
    page = (ROOT / "docs" / "events.md").read_text()
    sources = [path for part in ("store", "actors", "runtime") for path in (ROOT / part).rglob("*.py")]
    logged = {name for path in sources for name in LOG_LINE.findall(path.read_text())}
    assert len(logged) > 20
    assert {name for name in logged if f"`{name}`" not in page} == set()


def test_files() -> list[tuple[str, str]]:
    """Every block of the pages that is a file of tests."""
    return [
        (f"{page.name}-{number}", code)
        for page in sorted((ROOT / "docs").glob("*.md"))
        for number, (code, _) in enumerate(BLOCK.findall(page.read_text()))
        if "def test_" in code
    ]


test_files.__test__ = False


@pytest.mark.integration
@pytest.mark.parametrize("code", [file[1] for file in test_files()], ids=[file[0] for file in test_files()])
def test_the_tests_in_the_documentation_pass(tmp_path: Path, code: str) -> None:
    """In a project of their own, with no plugin but perdure's."""
    (tmp_path / "test_page.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "perdure.runtime.testing.plugin"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout
    assert f"{code.count('def test_')} passed" in ran.stdout


def test_the_readme_leads_with_its_two_commands_and_code() -> None:
    """A reader who gives it half a minute has seen how to try it and what it looks like."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert any("make demo" in line for line in lines[:10])
    assert any("make test" in line for line in lines[:10])
    assert "import asyncio" in lines[:16]


def test_the_readme_leads_to_every_page() -> None:
    """A page that nobody is led to is read by nobody."""
    readme = (ROOT / "README.md").read_text()
    unlinked = [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in readme]
    assert unlinked == []


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Relative links and their headings; addresses on the web are not looked up."""
    lost = []
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        there = page.parent / target if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append((target, anchor))
    assert lost == []


def anchors(page: Path) -> set[str]:
    """What its headings are called in links, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
