"""A figure of matplotlib that a notebook shows without matplotlib's help."""

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure of its own, which pyplot does not keep; notebooks show it as a picture.

    They would show the repr of a plain one, until pyplot is imported in them.
    """

    def _repr_png_(self) -> bytes:
        """Return the picture, as IPython asks for it."""
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
