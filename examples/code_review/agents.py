"""The agents of the code review: parse with `ast`, scan with bandit, check with ruff, write Markdown.

Run them with `perdure run workflow.yaml -i filePath=FILE --agents agents.py:agents`. Each agent is a
function; its parameters are filled from its step's prompt, the steps before it and the context. What
it returns is kept as JSON, and given back to the steps after it as the type they ask for.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec

from perdure.runtime import Agents, From

SOURCE_BYTES_MAX = 1_000_000  # one file under review; larger ones are generated, not written
COMPLEXITY_MAX = 10  # McCabe's own limit; above it a function is reported, not only measured
RUFF_RULES = "E,F,W,B,C4,C90,PL,PERF,RET,SIM,UP"
RUFF_IGNORED = "E501,PLR2004"  # line length and literals are matters of house style
SEVERITIES = ("high", "medium", "low")

agents = Agents()


class AnalyserMissing(Exception):
    """An analyser is not installed; the message says what to install."""


class AnalyserFailed(Exception):
    """An analyser ended without an answer; trying again may help."""


class SourceUnreadable(Exception):
    """What should be reviewed is not there, is too large, or is not Python."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function under review: where it is and how much there is of it."""

    name: str
    line: int
    line_end: int
    parameters: int
    statements: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file under review: its `path` as given, the absolute `file`, and what is in it.

    `changed` holds the first and last line of each part that changed.
    """

    path: str
    file: str
    lines: int
    classes: list[str]
    imports: list[str]
    functions: list[Function]
    changed: list[tuple[int, int]]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything under review; `functions` names those that the changed lines touch."""

    target: str
    functions: list[str]
    sources: list[Source]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing an analyser has to say about one line."""

    path: str
    line: int
    rule: str
    severity: str
    message: str


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What one analyser found; `result` is the sentence for the report, `complexity` per function."""

    task: str
    result: str
    findings: list[Finding]
    complexity: dict[str, int] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Where the report is and what it says in short; `verdict` is `approve` or `change`."""

    path: str
    security_findings: int
    quality_findings: int
    verdict: str


@agents.agent("backend", capabilities={"parsing"})
def backend(file_path: Annotated[str, From("filePath")], root: str = ".") -> Changes:
    """Parse one `.py` file, or every Python file that a `.diff` or `.patch` touches below `root`."""
    text = read_text(Path(file_path))
    if file_path.endswith((".diff", ".patch")):
        touched = {Path(root, path): spans for path, spans in changed_lines(text) if path.endswith(".py")}
    else:
        touched = {Path(file_path): [(1, max(1, len(text.splitlines())))]}
    sources = [parse(path, changed=spans) for path, spans in touched.items()]
    if not sources:
        raise SourceUnreadable(f"{file_path} touches no Python file: there is nothing to review")
    names = [each.name for source in sources for each in source.functions if is_touched(each, source)]
    return Changes(target=file_path, functions=names, sources=sources)


@agents.agent("security", capabilities={"assessment"})
async def security(prompt: str, parse_changes: Changes) -> Findings:
    """Scan the changed lines with bandit."""
    files = [source.file for source in parse_changes.sources]
    report = await analyse("bandit", "-q", "-f", "json", *files)
    if report["errors"]:
        raise AnalyserFailed(f"bandit could not read everything: {report['errors']}")
    found = [
        Finding(
            path=each["filename"],
            line=each["line_number"],
            rule=each["test_id"],
            severity=each["issue_severity"].lower(),
            message=each["issue_text"],
        )
        for each in report["results"]
    ]
    found = only_changed(found, parse_changes)
    return Findings(task=prompt, result=summarise("bandit", found), findings=found)


@agents.agent("quality", capabilities={"assessment"})
async def quality(prompt: str, parse_changes: Changes) -> Findings:
    """Check the changed lines with ruff, which also measures the complexity of every function."""
    files = [source.file for source in parse_changes.sources]
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    options = ("--isolated", "--no-cache", "--output-format", "json", "--target-version", version)
    rules = ("--select", RUFF_RULES, "--ignore", RUFF_IGNORED, "--config", "lint.mccabe.max-complexity=0")
    complexity, found = {}, []
    for each in await analyse("ruff", "check", *options, *rules, *files):
        path, line, message = each["filename"], each["location"]["row"], each["message"]
        if each["code"] == "C901":
            value = int(re.findall(r"\((\d+) > 0\)", message)[-1])
            complexity[f"{path}:{line}"] = value
            if value <= COMPLEXITY_MAX:
                continue
            message = message.replace("> 0)", f"> {COMPLEXITY_MAX})")
        found.append(Finding(path=path, line=line, rule=each["code"], severity="low", message=message))
    found = only_changed(found, parse_changes)
    return Findings(task=prompt, result=summarise("ruff", found), findings=found, complexity=complexity)


@agents.agent("writer", capabilities={"writing"})
def writer(
    prompt: str,
    parse_changes: Changes,
    security_scan: Findings,
    quality_check: Findings,
    report_path: Annotated[str | None, From("reportPath")] = None,
) -> Report:
    """Write the Markdown report to `reportPath`, or to `review-NAME.md` in the current folder."""
    path = Path(report_path or f"review-{Path(parse_changes.target).stem}.md").resolve()
    serious = [each for each in security_scan.findings if each.severity != "low"]
    report = Report(
        path=str(path),
        security_findings=len(security_scan.findings),
        quality_findings=len(quality_check.findings),
        verdict="change" if serious or quality_check.findings else "approve",
    )
    lines = render(report, prompt, parse_changes, security_scan=security_scan, quality_check=quality_check)
    write_whole(path, "\n".join(lines) + "\n")
    return report


def read_text(path: Path) -> str:
    """Read a file of bounded size as UTF-8."""
    try:
        if path.stat().st_size > SOURCE_BYTES_MAX:
            raise SourceUnreadable(f"{path} is larger than {SOURCE_BYTES_MAX:,} bytes: review it in parts")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"cannot read {path}: {error}") from error


def changed_lines(diff: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Name every file of a unified diff that is still there, with the lines that are new in it."""
    from unidiff.errors import UnidiffParseError  # noqa: PLC0415 - only needed for a diff
    from unidiff.patch import PatchSet  # noqa: PLC0415 - the same

    try:
        files = PatchSet(diff)
    except UnidiffParseError as error:
        raise SourceUnreadable(f"this is not a unified diff: {error}") from error
    for file in files:
        added = [line.target_line_no or 0 for hunk in file for line in hunk if line.is_added]
        if added and not file.is_removed_file:
            yield file.path, list(spans_of(added))


def spans_of(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join ascending numbers that follow each other: 1 2 3 7 becomes (1, 3) (7, 7)."""
    first = last = 0
    for number in numbers:
        if first and number != last + 1:
            yield first, last
            first = number
        first, last = first or number, number
    if first:
        yield first, last


def parse(path: Path, *, changed: list[tuple[int, int]]) -> Source:
    """List what a Python file defines and imports."""
    text = read_text(path)
    try:
        nodes = list(ast.walk(ast.parse(text, filename=str(path))))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise SourceUnreadable(f"{path} is not Python {sys.version_info.major}: {error}") from error
    functions = [
        Function(
            name=node.name,
            line=node.lineno,
            line_end=node.end_lineno or node.lineno,
            parameters=sum(isinstance(each, ast.arg) for each in ast.walk(node.args)),
            statements=sum(isinstance(each, ast.stmt) for each in ast.walk(node)) - 1,
        )
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    return Source(
        path=str(path),
        file=str(path.resolve()),
        lines=len(text.splitlines()),
        classes=[node.name for node in nodes if isinstance(node, ast.ClassDef)],
        imports=sorted(imports),
        functions=sorted(functions, key=lambda each: each.line),
        changed=changed,
    )


def is_touched(function: Function, source: Source) -> bool:
    """Tell whether a changed line lies inside the function."""
    return any(first <= function.line_end and last >= function.line for first, last in source.changed)


async def analyse(module: str, *arguments: str) -> Any:
    """Run `python -m module` and decode the JSON it prints; exit code 1 only means "found something"."""
    if importlib.util.find_spec(module) is None:
        raise AnalyserMissing(f'{module} is not installed: pip install "perdure[examples]"')
    ended = await anyio.run_process([sys.executable, "-m", module, *arguments], check=False)
    if ended.returncode not in {0, 1}:
        raise AnalyserFailed(f"{module} ended with {ended.returncode}: {ended.stderr.decode()[-2000:]}")
    try:
        return msgspec.json.decode(ended.stdout)
    except msgspec.DecodeError as error:
        raise AnalyserFailed(f"{module} printed no JSON: {ended.stderr.decode()[-2000:]}") from error


def only_changed(findings: Iterable[Finding], changes: Changes) -> list[Finding]:
    """Keep what lies on changed lines, named by the path the reader knows, in reading order."""
    sources = {source.file: source for source in changes.sources}
    kept = []
    for finding in findings:
        source = sources[finding.path]
        if any(first <= finding.line <= last for first, last in source.changed):
            kept.append(msgspec.structs.replace(finding, path=source.path))
    return sorted(kept, key=lambda each: (each.path, each.line, each.rule))


def summarise(analyser: str, findings: list[Finding]) -> str:
    """Count the findings by severity, in a sentence."""
    if not findings:
        return f"{analyser} has no findings."
    counts = Counter(each.severity for each in findings)
    parts = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
    return f"{analyser} has {len(findings)} finding{'s' if len(findings) > 1 else ''} ({parts})."


def render(
    report: Report, task: str, changes: Changes, *, security_scan: Findings, quality_check: Findings
) -> Iterator[str]:
    """Write the report's lines."""
    yield f"# Review of `{changes.target}`"
    yield f"\n> {task}\n\n**Verdict: {report.verdict}.**"
    yield "\n## Under review\n\n| file | lines | changed | classes | functions | imports |"
    yield "|---|---:|---:|---:|---:|---:|"
    for source in changes.sources:
        changed = sum(last - first + 1 for first, last in source.changed)
        counts = f"{len(source.classes)} | {len(source.functions)} | {len(source.imports)}"
        yield f"| `{source.path}` | {source.lines} | {changed} | {counts} |"
    yield from render_findings("Security", security_scan)
    yield from render_findings("Quality", quality_check)
    yield "\n## Functions, most complex first\n\n| function | place | complexity | statements | parameters |"
    yield "|---|---|---:|---:|---:|"
    functions = [
        (
            quality_check.complexity.get(f"{source.file}:{function.line}", 0),
            f"{source.path}:{function.line}",
            function,
        )
        for source in changes.sources
        for function in source.functions
    ]
    for complexity, place, function in sorted(functions, key=lambda row: -row[0]):
        counts = f"{complexity} | {function.statements} | {function.parameters}"
        yield f"| `{function.name}` | {place} | {counts} |"


def render_findings(title: str, found: Findings) -> Iterator[str]:
    """Write one table of findings; a pipe inside a message must not end its cell."""
    yield f"\n## {title}\n\n> {found.task}\n"
    if not found.findings:
        yield "Nothing found."
        return
    yield "| place | severity | rule | finding |\n|---|---|---|---|"
    for each in found.findings:
        message = " ".join(each.message.split()).replace("|", "\\|")
        yield f"| {each.path}:{each.line} | {each.severity} | {each.rule} | {message} |"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
    ) as file:
        file.write(text)
    Path(file.name).replace(path)
