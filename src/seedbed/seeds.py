"""Seeds: one for each table or parameter, and generators of them."""

from .values.seeds import SeedGenerator, Stream, derive, key

__all__ = ["SeedGenerator", "Stream", "derive", "key"]
