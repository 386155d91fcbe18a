"""Text in, a request out."""

from .grammar import Request, parse

__all__ = ["Request", "parse"]
