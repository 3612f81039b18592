"""Write docs/benchmarks.md and its pictures from the committed results: `python -m benchmarks.page`.

The words are in page.md beside this file. A line `<!-- table W2 -->` there becomes the table of that
question's results, `<!-- picture W2 steps_per_s -->` the picture of one figure, both classes of
contenders in it, and `<!-- setting -->` a sentence about the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import questions, results
from benchmarks.check import BASELINE
from benchmarks.drawing import THEMES, Mark, dot_plot
from benchmarks.peers.registry import PEERS
from benchmarks.question import HOSTED, OURS, Question
from benchmarks.results import FLOOR, Result
from benchmarks.server import NAME
from benchmarks.table import number, share

WORDS: Final = Path(__file__).with_name("page.md")
PEER_RESULTS: Final = Path(__file__).with_name("peers.jsonl")
DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PICTURES: Final = "benchmarks"  # a folder in DOCS
KINDS: Final = {OURS: "embedded", HOSTED: "hosted", NAME: "over PostgreSQL"}  # of ours, as the page has them
MARKER: Final = re.compile(r"<!-- (table|picture|peers|setting|engines)((?: \w+)*) -->")


def page(words: str, own: Sequence[Result], peers: Sequence[Result]) -> tuple[str, dict[str, str]]:
    """The page, and its pictures by file name."""
    pictures: dict[str, str] = {}

    def filled(marker: re.Match[str]) -> str:
        kind, arguments = marker[1], marker[2].split()
        match kind:
            case "setting":
                return setting([*own, *peers])
            case "engines":
                return engines()
            case "table":
                return table([each for each in own if each.question == arguments[0]])
            case "peers":
                return peer_table([each for each in peers if each.question == arguments[0]], arguments[1])
        drawn = draw(questions.question(arguments[0]), arguments[1], peers)
        pictures.update(drawn)
        return picture(arguments[0], sorted(drawn))

    return MARKER.sub(filled, words), pictures


def table(found: Sequence[Result]) -> str:
    """A row for each figure of ours, the floor beside it."""
    if not found:
        return "*Not measured yet.*"
    floors = {each.key[:2] + each.key[3:]: each for each in found if each.contender == FLOOR}
    reaches = {case.name: case.reach for case in questions.question(found[0].question).cases}
    has_kinds = any(each.contender in (HOSTED, NAME) for each in found)
    rows = []
    for each in found:
        if each.contender not in KINDS:
            continue
        floor = floors.get(each.key[:2] + each.key[3:])
        is_goal = each.durability == "power" and each.contender in (OURS, HOSTED)
        reach = reaches.get(each.case, {}).get(each.figure) if is_goal else None
        rows.append(
            (
                KINDS[each.contender] if has_kinds else "",
                each.case,
                each.unit,
                each.durability,
                f"**{number(each.spread.median)}**",
                f"{number(each.spread.min)} – {number(each.spread.max)}",
                "" if floor is None else number(floor.spread.median),
                "" if each.of_floor is None else share(each.of_floor),
                "" if reach is None else f"{number(reach)} {'✓' if is_reached(each, reach) else '✗'}",
            )
        )
    heads = (
        "which",
        "case",
        "unit",
        "durability",
        "median",
        "min – max",
        "floor",
        "share of the floor",
        "to reach",
    )
    return markdown(heads, rows)


def is_reached(result: Result, reach: float) -> bool:
    """Whether the median is as good as that, to the precision that is printed."""
    median = float(number(result.spread.median).replace(",", ""))
    return median >= reach if result.more_is_better else median <= reach


def peer_table(found: Iterable[Result], figure: str) -> str:
    """A row for each contender, the best first."""
    rows = [
        (
            f"**{each.contender}**" if each.contender == OURS else each.contender,
            each.durability,
            number(each.spread.median),
            f"{number(each.spread.min)} – {number(each.spread.max)}",
            "" if each.of_floor is None else share(each.of_floor),
        )
        for each in ranked(found, figure)
    ]
    if not rows:
        return "*Not measured yet.*"
    return markdown(("", "durability", "median", "min – max", "share of the floor"), rows)


def ranked(found: Iterable[Result], figure: str) -> list[Result]:
    """The results of one figure, the best first."""
    wanted = [each for each in found if each.figure == figure]
    return sorted(wanted, key=lambda each: each.spread.median * (-1 if each.more_is_better else 1))


def draw(question: Question, figure: str, found: Iterable[Result]) -> dict[str, str]:
    """The same picture for light and for dark pages; none where nothing was measured."""
    marks = [
        Mark(
            label=each.contender,
            spread=each.spread,
            colour={OURS: "ours", FLOOR: "floor"}.get(each.contender, "other"),
        )
        for each in ranked((each for each in found if each.question == question.code), figure)
    ]
    if not marks:
        return {}
    unit = next(each.unit for each in question.figures if each.name == figure)
    title = f"{question.code}: {question.title}"
    return {
        f"{question.code.lower()}-{theme.name}.svg": dot_plot(title, marks, unit=unit, theme=theme)
        for theme in THEMES
    }


def picture(code: str, names: Sequence[str]) -> str:
    """Both pictures, of which a page shows the one that suits it."""
    if not names:
        return ""
    dark, light = names
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{PICTURES}/{dark}">'
        f'<img alt="{code}, all contenders" src="{PICTURES}/{light}"></picture>'
    )


def setting(found: Sequence[Result]) -> str:
    """When and on what the results were measured, and how busy others were."""
    if not found:
        return "Nothing was measured yet."
    foreign = [each.foreign_cpu for each in found if each.foreign_cpu is not None]
    versions = sorted(
        {f"Python {each.python} and SQLite {each.sqlite} on {each.cpus} cores" for each in found}
    )
    days = sorted({each.at.split()[0] for each in found})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"Measured on {span} with {'; '.join(versions)}; meanwhile others used "
        f"{min(foreign):.0%} to {max(foreign):.0%} of the machine."
    )


def engines() -> str:
    """Who is compared, in which version, and what its durability rests on."""
    rows = [
        (peer.name, peer.requirements[0].replace("==", " "), peer.durability, peer.says) for peer in PEERS
    ]
    return markdown(("engine", "package", "durability", "which rests on"), rows)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, without the columns that are empty in every row."""
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[column] for column in kept) + " |" for line in lines)


def main() -> None:
    """Write the page and its pictures."""
    text, pictures = page(WORDS.read_text(), results.read(BASELINE), results.read(PEER_RESULTS))
    (DOCS / "benchmarks.md").write_text(text)
    (DOCS / PICTURES).mkdir(exist_ok=True)
    for name, svg in pictures.items():
        (DOCS / PICTURES / name).write_text(svg)


if __name__ == "__main__":
    main()
