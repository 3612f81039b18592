"""The code review judges real code with real analysers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.runtime import Runtime, Workflow

pytestmark = [pytest.mark.e2e]

CARELESS = '''\
"""A file with one thing wrong of each kind."""
import os
import subprocess


def deploy(host):
    subprocess.call("ssh " + host, shell=True)


def fine(host):
    return host
'''

DIFF = """\
diff --git a/careless.py b/careless.py
--- a/careless.py
+++ b/careless.py
@@ -8,4 +8,4 @@


 def fine(host):
-    return None
+    return host
diff --git a/notes.txt b/notes.txt
--- a/notes.txt
+++ b/notes.txt
@@ -1 +1 @@
--- old
+++ new
"""


@pytest.fixture
def careless(tmp_path: Path) -> Path:
    """A file that bandit and ruff have something to say about."""
    path = tmp_path / "careless.py"
    path.write_text(CARELESS)
    return path


def review(perdure, examples: Path, path: Path, *options: str):
    """Run the workflow on a file from the command line."""
    folder = examples / "code_review"
    agents = f"{folder / 'agents.py'}:agents"
    inputs = ["-i", f"filePath={path}", *options]
    return perdure("run", folder / "workflow.yaml", *inputs, "--agents", agents, "--format", "json")


def test_a_clean_file_of_this_repository_is_approved(perdure, examples, root, tmp_path):
    """The report names the file, its functions and their complexity, and finds nothing."""
    ended = review(perdure, examples, root / "store" / "states.py")
    assert ended.returncode == 0, ended.stderr
    report = (tmp_path / "review-states.md").read_text()
    assert "**Verdict: approve.**" in report
    assert report.count("Nothing found.") == 2
    assert "`_reachable`" in report.split("most complex first")[1].splitlines()[4]


def test_what_the_analysers_find_is_in_the_report(perdure, examples, careless, tmp_path):
    """Bandit's and ruff's findings come with rule and line, and the verdict is to change the file."""
    ended = review(perdure, examples, careless, "-i", "reportPath=out/review.md")
    assert ended.returncode == 0, ended.stderr
    report = (tmp_path / "out" / "review.md").read_text()
    assert "**Verdict: change.**" in report
    assert f"| {careless}:7 | high | B602 |" in report
    assert f"| {careless}:2 | low | F401 |" in report
    assert "bandit has 2 findings (1 high, 1 low)." in report
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["review.md"]


def test_a_file_that_is_not_python_ends_in_one_readable_error(perdure, examples, tmp_path):
    """The execution fails with what is wrong and where; no traceback is shown."""
    (tmp_path / "broken.py").write_text("def half(:\n")
    ended = review(perdure, examples, tmp_path / "broken.py")
    assert ended.returncode == 10
    assert "broken.py is not Python" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.anyio
async def test_of_a_diff_only_the_changed_lines_are_judged(module_of, examples, careless, tmp_path):
    """The old sins of a file are not charged to who changed another line of it."""
    (tmp_path / "change.diff").write_text(DIFF)
    workflow = Workflow.load(examples / "code_review" / "workflow.yaml")
    context = {
        "filePath": str(tmp_path / "change.diff"),
        "root": str(careless.parent),
        "reportPath": str(tmp_path / "report.md"),
    }
    async with Runtime(tmp_path / "p.db", agents=module_of("code_review").agents) as runtime:
        execution = await runtime.start(workflow, context)
        result = await execution.result(timeout=30)  # a stall names itself
    assert result.outputs["parse-changes"]["functions"] == ["fine"]
    assert result.outputs["parse-changes"]["sources"][0]["changed"] == [[11, 11]]
    assert result.outputs["generate-report"] == {
        "path": str(tmp_path / "report.md"),
        "security_findings": 0,
        "quality_findings": 0,
        "verdict": "approve",
    }
    asked = result.outputs["security-scan"]["task"]
    assert asked == f"Look for security problems in {json.dumps(['fine'])}."


@pytest.mark.anyio
async def test_a_missing_analyser_says_what_to_install(module_of):
    """Nobody has to guess which extra holds it."""
    agents = module_of("code_review")
    with pytest.raises(agents.AnalyserMissing, match=r'pip install "perdure\[examples\]"'):
        await agents.analyse("no_such_analyser")


def test_a_diff_without_python_has_nothing_to_review(module_of, tmp_path):
    """It is an error, not an empty report that looks like approval."""
    agents = module_of("code_review")
    (tmp_path / "notes.diff").write_text(DIFF[DIFF.index("diff --git a/notes") :])
    with pytest.raises(agents.SourceUnreadable, match="touches no Python file"):
        agents.backend(str(tmp_path / "notes.diff"))


def test_a_diff_that_was_cut_off_is_refused(module_of, tmp_path):
    """Half a diff would be half a review."""
    agents = module_of("code_review")
    (tmp_path / "half.diff").write_text("\n".join(DIFF.splitlines()[:6]))
    with pytest.raises(agents.SourceUnreadable, match="not a unified diff"):
        agents.backend(str(tmp_path / "half.diff"))


def test_numbers_that_follow_each_other_are_one_span(module_of):
    """Changed lines are kept as first and last."""
    spans_of = module_of("code_review").spans_of
    assert list(spans_of([1, 2, 3, 7, 9, 10])) == [(1, 3), (7, 7), (9, 10)]
    assert list(spans_of([])) == []
