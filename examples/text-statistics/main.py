"""Statistics of a whole book: python main.py [--top N] [--json] [BOOK]"""

import argparse
import json
import sys
import time
from pathlib import Path

from textstats import statistics_of

HERE = Path(__file__).parent


def report(statistics: dict, top: int) -> str:
    numbers = [
        ("bytes", f"{statistics['bytes']:,}"),
        ("lines", f"{statistics['lines']:,}"),
        ("words between spaces", f"{statistics['tokens']:,}"),
        ("words of letters", f"{statistics['words']:,}"),
        ("  different ones", f"{statistics['different_words']:,}"),
        ("  used only once", f"{statistics['words_used_once']:,}"),
        ("sentences", f"{statistics['sentences']:,}"),
        ("words per sentence", f"{statistics['words_per_sentence']:.1f}"),
        ("dictionary entries", f"{statistics['entries']:,}"),
    ]
    width = max(len(name) for name, _ in numbers)
    lines = [f"{name:<{width}}  {value:>9}" for name, value in numbers]
    lines += ["", f"the {top} most frequent words"]
    peak = statistics["most_frequent"][0][1]
    for word, count in statistics["most_frequent"]:
        lines.append(f"  {word:<8} {count:>6,} {'#' * round(40 * count / peak)}")
    lines += ["", "entries by kind of word"]
    for kind, count in statistics["entries_by_kind"].items():
        lines.append(f"  {kind:<8} {count:>6,}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Statistics of a book.")
    parser.add_argument("book", nargs="?", type=Path, default=HERE / "devils-dictionary.txt")
    parser.add_argument("--top", type=int, default=8, metavar="N", help="how many frequent words to list")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a report")
    options = parser.parse_args()

    started = time.perf_counter()
    statistics = statistics_of(options.book.read_bytes(), options.top)
    elapsed_ms = (time.perf_counter() - started) * 1000
    print(json.dumps(statistics) if options.json else report(statistics, options.top))
    print(f"counted in {elapsed_ms:.0f} ms", file=sys.stderr)


if __name__ == "__main__":
    main()
