"""A summary for people, and for programs (money as strings, so that nobody rounds it)."""

from dataclasses import asdict
from datetime import date
from decimal import Decimal

from .aggregate import Summary


def as_text(summary: Summary) -> str:
    lines = [
        f"{summary.orders} orders from {summary.first_day:%d %b %Y} to {summary.last_day:%d %b %Y}"
        f" ({summary.rejected} rows rejected)",
        "",
        f"total      {summary.total:>12,}",
        f"mean       {summary.mean:>12,}",
        f"median     {summary.median:>12,}",
        f"deviation  {summary.deviation:>12,}",
        f"best on    {summary.best_weekday:>12}",
    ]
    for title, groups in (("region", summary.by_region), ("month", summary.by_month)):
        lines += ["", f"{title:<10} {'amount':>12}  share"]
        for name, amount in groups.items():
            lines.append(f"{name:<10} {amount:>12,} {amount / summary.total:>6.1%}")
    return "\n".join(lines)


def as_json(summary: Summary) -> dict:
    return {name: plain(value) for name, value in asdict(summary).items()}


def plain(value: object) -> object:
    if isinstance(value, Decimal | date):
        return str(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
