"""The sales pipeline: validate → transform ∥ aggregate → load → summary.

A step that has another step's name as a parameter depends on it and receives what it returned. The
types between the steps are ordinary structs: they are kept as JSON and given back as structs.
"""

from __future__ import annotations

import csv
import sqlite3
from collections import defaultdict
from collections.abc import Container
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from perdure.runtime import Retry, Workflow

REGIONS = ("North", "South", "East", "West")
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y")  # what the three shops' tills write
QUANTITY_MAX = 1_000  # more in one order is a slip of the keyboard

SCHEMA = """
CREATE TABLE IF NOT EXISTS sales (
    "order" TEXT PRIMARY KEY, date TEXT NOT NULL, region TEXT NOT NULL, product TEXT NOT NULL,
    quantity INTEGER NOT NULL, total_cents INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS revenue (
    month TEXT, region TEXT, orders INTEGER NOT NULL, cents INTEGER NOT NULL, PRIMARY KEY (month, region)
) STRICT;
"""
UPSERT_SALE = """
INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT ("order") DO UPDATE SET date = excluded.date,
region = excluded.region, product = excluded.product, quantity = excluded.quantity,
total_cents = excluded.total_cents
"""
UPSERT_REVENUE = """
INSERT INTO revenue VALUES (?, ?, ?, ?)
ON CONFLICT (month, region) DO UPDATE SET orders = excluded.orders, cents = excluded.cents
"""

sales = Workflow("sales-pipeline", version="1.0", description="Clean a sales file and load it.")


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """One order that passed every check; money is whole cents."""

    order: str
    date: date
    region: str
    product: str
    quantity: int
    unit_cents: int


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A line that was left out, and why."""

    line: int
    reason: str


class Validated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines of the file."""

    sales: list[Sale]
    rejected: list[Rejected]


class Revenue(msgspec.Struct, frozen=True, kw_only=True):
    """What one region took in one month."""

    month: str
    region: str
    orders: int
    cents: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the tables hold now, and what was left out on the way."""

    sales: int
    rejected: dict[str, int]
    revenue_cents: int
    best_month: str
    best_region: str


@sales.step
def validate(source: str) -> Validated:
    """Read the file, keep every line that can be understood, and say of the others why not."""
    accepted: dict[str, Sale] = {}
    rejected: list[Rejected] = []
    with Path(source).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            try:
                sale = read_sale(row, seen=accepted)
                accepted[sale.order] = sale
            except ValueError as error:
                rejected.append(Rejected(line=reader.line_num, reason=str(error)))
    return Validated(sales=list(accepted.values()), rejected=rejected)


@sales.step
def transform(validate: Validated) -> list[tuple[str, str, str, str, int, int]]:
    """Give every sale the shape of its table."""
    return [
        (s.order, s.date.isoformat(), s.region, s.product, s.quantity, s.quantity * s.unit_cents)
        for s in validate.sales
    ]


@sales.step
def aggregate(validate: Validated) -> list[Revenue]:
    """Add up the revenue of each region and month."""
    totals: dict[tuple[str, str], list[int]] = defaultdict(list)
    for sale in validate.sales:
        totals[f"{sale.date:%Y-%m}", sale.region].append(sale.quantity * sale.unit_cents)
    return [
        Revenue(month=month, region=region, orders=len(cents), cents=sum(cents))
        for (month, region), cents in sorted(totals.items())
    ]


@sales.step(timeout=30, retry=Retry(max_retries=3, delay=0.2, retryable_errors=[sqlite3.OperationalError]))
def load(
    transform: list[tuple[str, str, str, str, int, int]], aggregate: list[Revenue], database: str
) -> int:
    """Write both tables in one transaction; loading the same sales again changes nothing."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(SCHEMA)
        with connection:
            connection.executemany(UPSERT_SALE, transform)
            connection.executemany(UPSERT_REVENUE, map(msgspec.structs.astuple, aggregate))
    return len(transform)


@sales.step(after=[load])
def summary(validate: Validated, database: str) -> Summary:
    """Read the tables back; they must agree with each other."""
    with closing(sqlite3.connect(database)) as connection:
        count, total = connection.execute("SELECT count(*), sum(total_cents) FROM sales").fetchone()
        (revenue,) = connection.execute("SELECT sum(cents) FROM revenue").fetchone()
        if total != revenue:
            raise ValueError(f"table sales holds {total} cents, table revenue {revenue}: load them anew")
        best = [
            connection.execute(
                f"SELECT {column} FROM revenue GROUP BY {column} ORDER BY sum(cents) DESC"  # noqa: S608 - ours
            ).fetchone()[0]
            for column in ("month", "region")
        ]
    reasons: dict[str, int] = defaultdict(int)
    for each in validate.rejected:
        reasons[each.reason] += 1
    return Summary(
        sales=count, rejected=reasons, revenue_cents=total, best_month=best[0], best_region=best[1]
    )


def read_sale(row: dict[str, str | None], *, seen: Container[str]) -> Sale:
    """Understand one line. Raises ValueError with the reason why not."""
    cells = {name: (value or "").strip() for name, value in row.items() if name}
    if not cells["order"]:
        raise ValueError("no order number")
    if not cells["product"]:
        raise ValueError("line is cut off")
    if cells["order"] in seen:
        raise ValueError("order seen before")
    region = cells["region"].capitalize()
    if region not in REGIONS:
        raise ValueError("unknown region")
    if not cells["quantity"].isdecimal() or not 0 < int(cells["quantity"]) <= QUANTITY_MAX:
        raise ValueError("impossible quantity")
    return Sale(
        order=cells["order"],
        date=read_date(cells["date"]),
        region=region,
        product=cells["product"].lower(),
        quantity=int(cells["quantity"]),
        unit_cents=read_cents(cells["unit_price"]),
    )


def read_date(text: str) -> date:
    """Understand a date in any of the known formats."""
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day, not a moment
        except ValueError:
            continue
    raise ValueError("impossible date")


def read_cents(text: str) -> int:
    """Understand a price such as `39.90`, `39,90` or `EUR 39.90`."""
    try:
        cents = Decimal(text.removeprefix("EUR").strip().replace(",", ".")) * 100
    except InvalidOperation as error:
        raise ValueError("no price") from error
    if not cents.is_finite() or cents != cents.to_integral_value() or cents <= 0:
        raise ValueError("impossible price")
    return int(cents)
