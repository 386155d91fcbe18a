"""request = quantity { ("+" | "-") quantity } "in" unit."""

from dataclasses import dataclass
from fractions import Fraction

from ..errors import UnitsError
from .tokens import Token, tokenize


@dataclass(frozen=True)
class Request:
    terms: tuple[tuple[int, Fraction, str], ...]
    target: str


def parse(text: str) -> Request:
    tokens = tokenize(text)
    terms = [quantity(tokens, +1)]
    while (operator := expect(tokens, "operator", "word")).kind == "operator":
        terms.append(quantity(tokens, +1 if operator.text == "+" else -1))
    if operator.text != "in":
        raise UnitsError(f"expected 'in', not {operator.text!r}")
    target = expect(tokens, "word").text
    if tokens:
        raise UnitsError(f"nothing may follow {target!r}, but {tokens[0].text!r} does")
    return Request(tuple(terms), target)


def quantity(tokens: list[Token], sign: int) -> tuple[int, Fraction, str]:
    number = Fraction(expect(tokens, "number").text)
    return sign, number, expect(tokens, "word").text


def expect(tokens: list[Token], *kinds: str) -> Token:
    if not tokens:
        raise UnitsError(f"expected {' or '.join(kinds)}, but the text ends")
    token = tokens.pop(0)
    if token.kind not in kinds:
        raise UnitsError(f"expected {' or '.join(kinds)}, not {token.text!r}")
    return token
