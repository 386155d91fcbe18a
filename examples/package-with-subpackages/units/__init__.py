"""Sums of quantities: `python -m units 3 km + 200 m in mi`."""

from .conversion import Catalogue
from .errors import UnitsError
from .parsing import parse

__all__ = ["Catalogue", "UnitsError", "evaluate"]


def evaluate(text: str) -> str:
    """The value of `text`, such as "3 km + 200 m in mi", as number and unit."""
    catalogue = Catalogue.bundled()
    request = parse(text)
    total = sum(
        sign * catalogue.to_base(number, unit, like=request.target) for sign, number, unit in request.terms
    )
    return f"{catalogue.from_base(total, request.target):.6g} {request.target}"
