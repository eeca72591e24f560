"""What errors say of a value."""

from typing import Any


def brief(value: Any) -> str:
    """Return a value as an error tells it: cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:100]}... ({len(text)} characters)"
