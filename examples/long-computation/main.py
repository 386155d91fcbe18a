"""Counts primes segment by segment and says how far it is: python main.py [--limit N] [--segments N]

Plain print, no flush: progress is seen as it happens because the service runs Python that way.
"""

import argparse
import time
from math import isqrt


def base_primes(limit: int) -> list[int]:
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = b"\0\0"
    for number in range(2, isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
    return [number for number in range(limit + 1) if sieve[number]]


def primes_in(start: int, stop: int, bases: list[int]) -> int:
    """How many primes there are in start <= n < stop."""
    sieve = bytearray([1]) * (stop - start)
    for prime in bases:
        if prime * prime >= stop:
            break
        first = max(prime * prime, -(-start // prime) * prime)
        sieve[first - start :: prime] = bytes(len(range(first, stop, prime)))
    return sieve.count(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, default=1_000_000_000)
    parser.add_argument("--segments", type=int, default=40)
    options = parser.parse_args()

    started = time.monotonic()
    bases = base_primes(isqrt(options.limit))
    edges = [2 + (options.limit - 1) * index // options.segments for index in range(options.segments + 1)]
    found = 0
    for index, (start, stop) in enumerate(zip(edges, edges[1:]), start=1):
        found += primes_in(start, stop, bases)
        share = index / options.segments
        bar = "#" * round(20 * share)
        print(f"[{bar:<20}] {share:4.0%}  {found:>10,} primes below {stop:>13,}  {time.monotonic() - started:5.2f} s")
    print(f"pi({options.limit}) = {found}")


if __name__ == "__main__":
    main()
