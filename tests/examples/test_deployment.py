"""The deployment releases a program that works, and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def project(examples: Path, tmp_path: Path) -> Path:
    """A copy of the project that may be changed."""
    copy = tmp_path / "project"
    shutil.copytree(examples / "deployment" / "project", copy)
    return copy


@pytest.fixture
def deploy(perdure, examples: Path, project: Path, tmp_path: Path):
    """Run the workflow on the project."""
    folder = examples / "deployment"
    inputs = ["-i", f"project={project}", "-i", f"target={tmp_path / 'live'}"]
    agents = f"{folder / 'agents.py'}:agents"
    return lambda: perdure("run", folder / "workflow.yaml", *inputs, "--agents", agents)


def test_the_program_is_built_tested_scanned_released_and_answers(deploy, python, tmp_path):
    """What lies in `current` afterwards is a program that runs."""
    ended = deploy()
    assert ended.returncode == 0, ended.stderr
    current = tmp_path / "live" / "current"
    assert python(current / "slugger.pyz", "Hello, World!").stdout == "hello-world\n"
    assert "3 tests passed, 0 findings." in (current / "RELEASE.txt").read_text()


def test_deploying_the_same_source_again_gives_the_same_release(deploy, tmp_path):
    """A build is named by the digest of its source."""
    deploy()
    before = (tmp_path / "live" / "current").resolve()
    assert deploy().returncode == 0
    assert (tmp_path / "live" / "current").resolve() == before
    assert len(list((tmp_path / "live" / "releases").iterdir())) == 1


def test_a_failing_suite_stops_the_release(deploy, project, tmp_path):
    """Nothing is released, and the error shows the suite's own words."""
    (project / "slugger" / "slug.py").write_text("def slugify(title):\n    return title\n")
    ended = deploy()
    assert ended.returncode == 10
    assert "FAILED" in ended.stdout + ended.stderr
    assert not (tmp_path / "live" / "releases").exists()


def test_a_release_that_does_not_answer_well_is_taken_back(deploy, project, python, tmp_path):
    """`current` leads to what was there before."""
    deploy()
    (project / "slugger" / "__main__.py").write_text("def main():\n    print('wrong')\n")
    ended = deploy()
    assert ended.returncode == 10
    assert "wrong" in ended.stdout + ended.stderr
    current = tmp_path / "live" / "current"
    assert python(current / "slugger.pyz", "Hello, World!").stdout == "hello-world\n"
    assert len(list((tmp_path / "live" / "releases").iterdir())) == 2


def test_a_release_is_taken_back_on_somebodys_wish_also_after_its_end(
    deploy, perdure, project, python, tmp_path
):
    """The first one, too: then nothing is released."""
    deploy()
    (project / "slugger" / "VERSION").write_text("9.0\n")
    assert deploy().returncode == 0
    current = tmp_path / "live" / "current"
    assert python(current / "slugger.pyz", "--version").stdout == "9.0\n"
    first, second = perdure("list", "--quiet").stdout.split()[::-1]
    for deployed, version in ((second, "1.2.0\n"), (first, "")):
        ended = perdure("rollback", deployed, "--reason", "wrong colour")
        assert ended.returncode == 0, ended.stderr
        assert python(current / "slugger.pyz", "--version").stdout == version


def test_a_serious_finding_stops_the_release(deploy, project, tmp_path):
    """Bandit's medium and high findings are not for release."""
    (project / "slugger" / "extra.py").write_text(
        "import os\n\n\ndef go(x):\n    os.system(x)\n    eval(x)\n"
    )
    ended = deploy()
    assert ended.returncode == 10
    assert "bandit refuses" in ended.stdout + ended.stderr
    assert not (tmp_path / "live" / "releases").exists()
