"""Orders as CSV on stdin, a report on stdout, rejected rows on stderr.

Exit code 0: every row was used. 1: some rows were rejected, the report is of the
others. 2: there is nothing to report on (no header, no usable row).
"""

import argparse
import csv
import json
import sys

from orders.aggregate import summarize
from orders.render import as_json, as_text
from orders.rows import COLUMNS, RowError, parse_row


def main() -> int:
    parser = argparse.ArgumentParser(description="Report on orders read from stdin.")
    parser.add_argument("--format", choices=("text", "json", "both"), default="both")
    options = parser.parse_args()

    reader = csv.DictReader(sys.stdin, strict=True)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        print(f"no report: the header has no {', '.join(missing)}", file=sys.stderr)
        return 2

    orders, rejected, seen = [], 0, set()
    for row in reader:
        try:
            orders.append(parse_row(row, seen))
        except RowError as error:
            rejected += 1
            print(f"line {reader.line_num}: {error}", file=sys.stderr)
    if not orders:
        print("no report: there is no usable row", file=sys.stderr)
        return 2

    summary = summarize(orders, rejected)
    if options.format != "json":
        print(as_text(summary))
    if options.format != "text":
        print(json.dumps(as_json(summary)))
    return 1 if rejected else 0


if __name__ == "__main__":
    sys.exit(main())
