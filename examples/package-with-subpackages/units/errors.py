class UnitsError(Exception):
    """What the caller asked for has no answer."""
