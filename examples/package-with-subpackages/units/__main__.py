"""What `python -m units` runs."""

import sys

from . import Catalogue, UnitsError, evaluate


def main(arguments: list[str]) -> int:
    if arguments == ["--list"]:
        for dimension, names in Catalogue.bundled().by_dimension().items():
            print(f"{dimension}: {' '.join(names)}")
        return 0
    try:
        print(evaluate(" ".join(arguments)))
    except UnitsError as error:
        print(f"units: {error}", file=sys.stderr)
        return 2
    return 0


sys.exit(main(sys.argv[1:]))
