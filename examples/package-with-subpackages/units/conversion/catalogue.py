"""The units of data/units.csv, read as a resource of the package: no path is built by hand."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files

from .. import data
from ..errors import UnitsError


@dataclass(frozen=True)
class Unit:
    name: str
    dimension: str
    factor: Fraction


class Catalogue:
    def __init__(self, units: list[Unit]) -> None:
        self._units = {unit.name: unit for unit in units}

    @classmethod
    @cache
    def bundled(cls) -> "Catalogue":
        with files(data).joinpath("units.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return cls([Unit(row["unit"], row["dimension"], Fraction(row["factor"])) for row in rows])

    def to_base(self, number: Fraction, name: str, *, like: str) -> Fraction:
        unit, target = self._find(name), self._find(like)
        if unit.dimension != target.dimension:
            raise UnitsError(f"{name} is a {unit.dimension}, {like} a {target.dimension}")
        return number * unit.factor

    def from_base(self, number: Fraction, name: str) -> float:
        return float(number / self._find(name).factor)

    def by_dimension(self) -> dict[str, list[str]]:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for unit in self._units.values():
            groups[unit.dimension].append(unit.name)
        return dict(groups)

    def _find(self, name: str) -> Unit:
        try:
            return self._units[name]
        except KeyError:
            raise UnitsError(f"there is no unit {name!r}; --list shows what there is") from None
