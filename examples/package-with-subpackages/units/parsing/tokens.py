import re
from typing import NamedTuple

from ..errors import UnitsError

TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z]+)|(?P<operator>[+-]))")


class Token(NamedTuple):
    kind: str
    text: str


def tokenize(text: str) -> list[Token]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise UnitsError(f"cannot read {text[position:].strip()!r}")
        tokens.append(Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens
