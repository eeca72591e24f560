"""Files: written past the page cache, and published whole or not at all."""
