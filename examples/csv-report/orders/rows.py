"""One row of the input, checked."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

COLUMNS = ("order", "date", "region", "quantity", "unit_price")


class RowError(ValueError):
    """The row cannot be used; the message says which field and why."""


@dataclass(frozen=True)
class Order:
    number: str
    day: date
    region: str
    amount: Decimal


def parse_row(row: dict, seen: set[str]) -> Order:
    """The order in `row`. Adds its number to `seen`, which it must not be in."""
    if None in row or None in row.values():
        raise RowError("the number of fields is not that of the header")
    number = row["order"].strip()
    if number in seen:
        raise RowError(f"order {number} was there before")
    try:
        day = date.fromisoformat(row["date"].strip())
    except ValueError:
        raise RowError(f"date {row['date']!r} is not a day") from None
    try:
        quantity = int(row["quantity"])
    except ValueError:
        raise RowError(f"quantity {row['quantity']!r} is not a whole number") from None
    try:
        price = Decimal(row["unit_price"].strip())
    except InvalidOperation:
        raise RowError(f"unit_price {row['unit_price']!r} is not a number") from None
    if quantity <= 0:
        raise RowError(f"quantity {quantity} is not above zero")
    if not price.is_finite() or price < 0:
        raise RowError(f"unit_price {price} is not a price")
    region = row["region"].strip()
    if not region:
        raise RowError("region is empty")
    seen.add(number)
    return Order(number, day, region, quantity * price)
