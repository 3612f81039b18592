"""For those who write workflows: validate, graph, agents, config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Common, Reading
from perdure.runtime.cli.render import counted, value
from perdure.runtime.cli.session import Session, open_session
from perdure.runtime.cli.text import Cell, clean, cut

if TYPE_CHECKING:
    from perdure.runtime import Agents, Workflow
    from perdure.runtime.language.errors import Problem

READING = Reading()
COMMON = Common()
SOURCE_LINE_MAX: Final = 160  # of the offending line that is shown; longer ones are data


def validate(
    file: str,
    /,
    *files: str,
    agents: str | None = None,
    options: Reading = READING,
) -> int:
    """Check workflow files and print every problem at once, with its line.

    Args:
        file: Workflow definition, YAML or JSON.
        files: More of them.
        agents: Also check that the agents exist: module:registry or path/to/file.py:registry.
    """
    session = open_session(options, agents=agents)
    registry = session.agents()
    reports = [_check(path, registry) for path in (file, *files)]
    if session.out.format != "table":
        session.out.records(reports)
    else:
        for report in reports:
            _show_report(session, report)
    return Exit.DEFINITION_INVALID if any(report["problems"] for report in reports) else Exit.DONE


def graph(file: str, /, *, as_: Literal["ascii", "mermaid"] = "ascii", options: Common = COMMON) -> int:
    """Draw the levels of a workflow and what each step needs.

    Args:
        file: Workflow definition, YAML or JSON.
        as_: How to draw.
    """
    from perdure.runtime import Workflow

    session = open_session(options)
    workflow = Workflow.load(file)
    session.out.write(_mermaid(workflow) if as_ == "mermaid" else _ascii(workflow))
    return Exit.DONE


def agents(*, agents: str | None = None, options: Reading = READING) -> int:
    """List the agents that a registry brings: where they run, what they can do, what limits them.

    Where there is a database it is told how their circuits stand there, and how many steps run.

    Args:
        agents: module:registry or path/to/file.py:registry (PERDURE_AGENTS).
    """
    from perdure.runtime.cli.guarded import guards_of, shown_guard, stands

    session = open_session(options, agents=agents)
    registry = session.agents()
    if registry is None:
        session.note("no agents named: use --agents module:registry, PERDURE_AGENTS or perdure.toml")
        return Exit.USAGE
    known = stands(session)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "mode": str(found.mode),
            "capabilities": sorted(found.capabilities),
            "where": found.where,
            "guard": guards_of(found.guard, known.get(name)),
        }
        for name in sorted(registry.names())
        if (found := registry.find(name)) is not None
    ]
    if session.out.format != "table":
        session.out.records(rows)
        return Exit.DONE
    session.out.table(
        ("AGENT", "RUNS", "CAPABILITIES", "LIMITS", "WHERE"),
        [
            (
                row["name"],
                row["mode"],
                ", ".join(row["capabilities"]) or "–",
                shown_guard(row["guard"], now=session.now()),
                str(row["where"]),
            )
            for row in rows
        ],
    )
    return Exit.DONE


def config(*, options: Reading = READING) -> int:
    """Print the settings in force and where each comes from."""
    session = open_session(options)
    table = session.config.table()
    if session.out.format != "table":
        session.out.records(table)
        return Exit.DONE
    session.out.table(
        ("SETTING", "VALUE", "FROM", "MEANING"),
        [
            (
                row.name,
                value(row.value),
                Cell(row.source, "dim" if row.source == "default" else None),
                row.meaning,
            )
            for row in table
        ],
    )
    return Exit.DONE


def _check(path: str, registry: Agents | None) -> dict[str, Any]:
    """What is to be said about one file: what it defines, or its problems."""
    from perdure.runtime import DefinitionError, Workflow
    from perdure.runtime.language import check_agents
    from perdure.runtime.language.parsing import define, read_file

    report: dict[str, Any] = {"file": path, "problems": []}
    try:
        document = read_file(Path(path))
        definition = define(document)
        workflow = Workflow.from_definition(definition)
        report |= {
            "name": definition.name,
            "version": definition.version,
            "revision": workflow.revision,
            "steps": len(definition.steps),
            "levels": len(workflow.levels()),
        }
        if registry is not None:
            report["problems"] = list(check_agents(definition, registry, locate=document.locate))
    except DefinitionError as error:
        report["problems"] = list(error.problems)
    return report


def _show_report(session: Session, report: dict[str, Any]) -> None:
    out = session.out
    problems: list[Problem] = report["problems"]
    if not problems:
        about = f"{report['name']}: {_extent(report['steps'], report['levels'])}"
        out.write(f"{out.done('valid')}  {report['file']}  {about}\n")
        return
    lines = _lines(report["file"])
    for problem in problems:
        out.write(out.paint(Cell(str(problem), "red")) + "\n")
        out.write(_excerpt(problem, lines))
    session.note(f"{report['file']}: {counted(len(problems), 'problem')}")


def _extent(steps: int, levels: int) -> str:
    """How large a workflow is."""
    return f"{counted(steps, 'step')}, {counted(levels, 'level')}"


def _excerpt(problem: Problem, lines: list[str]) -> str:
    """The source line and a caret under the offending column, where they are known."""
    if problem.line is None or not 0 < problem.line <= len(lines):
        return ""
    gutter = f"{problem.line:>5} │ "
    source = cut(clean(lines[problem.line - 1].replace("\t", " ")), limit=SOURCE_LINE_MAX)
    if problem.column is None or problem.column > SOURCE_LINE_MAX:
        return f"{gutter}{source}\n"
    return f"{gutter}{source}\n{' ' * (len(gutter) + problem.column - 1)}^\n"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _ascii(workflow: Workflow) -> str:
    from perdure.runtime.language.waits import performer_of

    definition, levels = workflow.definition, workflow.levels()
    steps = {step.key: step for step in definition.steps}
    width = max(len(key) for key in steps)
    text = f"{definition.name}: {_extent(len(steps), len(levels))}\n"
    for number, level in enumerate(levels, start=1):
        is_last = number == len(levels)
        text += f"{'└─' if is_last else '├─'} level {number}\n"
        for key in level:
            step = steps[key]
            needs = f"  ← {', '.join(step.dependencies)}" if step.dependencies else ""
            marks = "  (optional)" if step.optional else ""
            performer = clean(performer_of(step))
            text += f"{'  ' if is_last else '│ '}   {key:<{width}}  {performer}{needs}{marks}".rstrip() + "\n"
    return text


def _mermaid(workflow: Workflow) -> str:
    steps = workflow.definition.steps
    numbers = {step.key: f"s{number}" for number, step in enumerate(steps)}
    lines = ["flowchart TD"]
    lines += [f'  {numbers[step.key]}["{_escaped(step.key)}"]' for step in steps]
    lines += [f"  {numbers[need]} --> {numbers[step.key]}" for step in steps for need in step.dependencies]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text inside a Mermaid label, where quotes and markup would be read as such."""
    return "".join(
        character if character.isalnum() or character in " -_./" else f"#{ord(character)};"
        for character in text
    )
