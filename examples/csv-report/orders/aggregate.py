"""What is worth knowing about many orders. Money stays decimal."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import mean, median, pstdev

from .rows import Order

CENT = Decimal("0.01")


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Summary:
    orders: int
    rejected: int
    first_day: date
    last_day: date
    total: Decimal
    mean: Decimal
    median: Decimal
    deviation: Decimal
    by_region: dict[str, Decimal]
    by_month: dict[str, Decimal]
    best_weekday: str


def summarize(orders: list[Order], rejected: int) -> Summary:
    amounts = [order.amount for order in orders]
    by_region: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_month: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_weekday: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        by_region[order.region] += order.amount
        by_month[f"{order.day:%Y-%m}"] += order.amount
        by_weekday[f"{order.day:%A}"] += order.amount
    return Summary(
        orders=len(orders),
        rejected=rejected,
        first_day=min(order.day for order in orders),
        last_day=max(order.day for order in orders),
        total=cents(sum(amounts, Decimal())),
        mean=cents(mean(amounts)),
        median=cents(median(amounts)),
        deviation=cents(pstdev(amounts)),
        by_region={name: cents(by_region[name]) for name in sorted(by_region, key=by_region.__getitem__, reverse=True)},
        by_month={name: cents(by_month[name]) for name in sorted(by_month)},
        best_weekday=max(by_weekday, key=by_weekday.__getitem__),
    )
