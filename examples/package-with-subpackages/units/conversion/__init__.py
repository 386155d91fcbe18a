"""Units and what they are worth."""

from .catalogue import Catalogue

__all__ = ["Catalogue"]
