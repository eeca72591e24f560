"""The drawings of the site: ``python docs/drawings.py`` writes docs/drawings/*.svg.

Numbers in them are computed as the stream contract says, never typed; a test compares the files
with what this script makes.
"""

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

from seedbed import initializers

FOLDER = Path(__file__).parent / "drawings"
INK, QUIET, LINE, PAPER = "#1b1f24", "#57606a", "#c4cbd3", "#ffffff"
WORDS = ("#cfe8d5", "#cfe0f5", "#fbe3bf", "#ecd3ef")  # one colour for each word of a lane
MADE, LEFT, MARK = "#2e7d32", "#e7ebef", "#d9480f"
LANES, WORDS_A_LANE = 32, 4


class Drawing:
    """An SVG picture on white paper, so that it shows on dark pages, too."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, '
            'sans-serif">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{QUIET}"/></marker>'
            "</defs>",
        ]
        self.box(0, 0, width, height, PAPER, PAPER, radius=8)

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = LINE,
        *, radius: float = 0, thick: float = 1,
    ) -> None:  # fmt: skip
        """Draw a rectangle."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="{thick:g}"/>'
        )

    def text(
        self, x: float, y: float, words: str, *, size: float = 14, colour: str = INK,
        anchor: str = "start", bold: bool = False, mono: bool = False,
    ) -> None:  # fmt: skip
        """Write a line; y is its base line."""
        style = ' font-weight="600"' if bold else ""
        style += ' font-family="ui-monospace, Menlo, Consolas, monospace"' if mono else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}" xml:space="preserve"{style}>{escape(words)}</text>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draw an arrow from the first point to the second."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{QUIET}" '
            'stroke-width="1.5" marker-end="url(#tip)"/>'
        )

    def path(self, data: str, fill: str = "none", stroke: str = INK, thick: float = 1) -> None:
        """Draw a path of SVG commands."""
        self.parts.append(
            f'<path d="{data}" fill="{fill}" stroke="{stroke}" stroke-width="{thick:g}"/>'
        )

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])


def element_at(tile: int, lane: int, word: int) -> int:
    """Return the number of the float32 element that a word of a lane gives."""
    return tile * LANES * WORDS_A_LANE + word * LANES + lane


def tile() -> Drawing:
    """Draw one tile: 128 neighbours of a table, made by 32 lanes of four words."""
    drawing = Drawing(860, 424, "A tile: 128 consecutive float32 values are 32 lanes of four words")
    left, cell, top = 178, 20.5, 74
    drawing.text(20, 32, "A tile of a float32 table: elements 0 to 127", size=17, bold=True)
    shown = 5  # the lane that is followed
    for word in range(WORDS_A_LANE):
        y = top + word * 34
        first, last = element_at(0, 0, word), element_at(0, LANES - 1, word)
        drawing.text(left - 12, y + 19, f"elements {first} to {last}", anchor="end")
        for lane in range(LANES):
            marked = lane == shown
            drawing.box(
                left + lane * cell, y, cell, 28, WORDS[word], MARK if marked else LINE,
                thick=2.5 if marked else 1,
            )  # fmt: skip
        drawing.text(
            left + (shown + 0.5) * cell, y + 18, str(element_at(0, shown, word)), size=10,
            anchor="middle", bold=True,
        )  # fmt: skip
    drawing.text(left, top - 12, "lane 0", size=12, colour=QUIET)
    drawing.text(
        left + (shown + 0.5) * cell, top - 12, f"lane {shown}", size=12, colour=MARK,
        anchor="middle", bold=True,
    )  # fmt: skip
    drawing.text(left + LANES * cell, top - 12, "lane 31", size=12, colour=QUIET, anchor="end")
    x, y = left + (shown + 0.5) * cell, top + 4 * 34 + 2
    drawing.arrow(x, y + 62, x, y + 4)
    drawing.box(40, y + 66, 780, 64, "#f6f8fa", LINE, radius=6)
    drawing.text(60, y + 92, "Philox", bold=True)
    drawing.text(
        120, y + 92, f"key = seed 7      counter = (lane {shown}, attempt 0, stream 0)", mono=True
    )
    drawing.text(60, y + 116, "gives four 32-bit words:", colour=QUIET)
    for word in range(WORDS_A_LANE):
        drawing.box(232 + word * 146, y + 101, 138, 21, WORDS[word], LINE, radius=3)
        drawing.text(
            301 + word * 146, y + 116, f"word {word} → element {element_at(0, shown, word)}",
            size=12, anchor="middle",
        )  # fmt: skip
    drawing.text(
        20, y + 164,
        "Nothing else goes in. So a thread, a GPU warp or a host that needs element 69 asks for",
        colour=QUIET,
    )  # fmt: skip
    drawing.text(20, y + 184, f"lane {shown}, whatever it made before.", colour=QUIET)
    return drawing


def window() -> Drawing:
    """Draw a window that lies across shards: each makes its own rows of it, and nothing else."""
    drawing = Drawing(860, 372, "A window over shards of a table")
    rows, columns, cell, left, top = 12, 16, 20, 40, 66
    first, last, begin, end = 4, 8, 3, 11
    drawing.text(left, 32, "The table, never made whole", size=17, bold=True)
    drawing.text(left, 52, "four shards of three rows", size=13, colour=QUIET)
    for row in range(rows):
        for column in range(columns):
            inside = first <= row < last and begin <= column < end
            drawing.box(
                left + column * cell, top + row * cell, cell, cell,
                WORDS[row // 3] if inside else LEFT, PAPER,
            )  # fmt: skip
    for shard in range(5):
        y = top + shard * 3 * cell
        drawing.path(f"M{left - 6} {y}H{left + columns * cell + 6}", stroke=QUIET)
    for shard in range(4):
        drawing.text(left - 14, top + (shard * 3 + 1.5) * cell + 5, str(shard), colour=QUIET)
    drawing.box(
        left + begin * cell, top + first * cell, (end - begin) * cell, (last - first) * cell,
        "none", MARK, thick=3,
    )  # fmt: skip
    drawing.text(
        left, top + rows * cell + 26, f"window=(slice({first}, {last}), slice({begin}, {end}))",
        mono=True, size=13, colour=MARK,
    )  # fmt: skip
    x = 500
    for shard, y in ((1, 100), (2, 212)):
        rows_here = range(max(first, shard * 3), min(last, shard * 3 + 3))
        drawing.text(x, y - 12, f"shard {shard} makes rows {rows_here[0]} and {rows_here[-1]}")
        for at in range(len(rows_here)):
            for column in range(end - begin):
                drawing.box(
                    x + column * cell, y + at * cell, cell, cell, WORDS[shard], PAPER
                )  # fmt: skip
        drawing.arrow(left + columns * cell + 24, y + 20, x - 16, y + 20)
    drawing.text(x, 296, "Shards 0 and 3 make nothing.", colour=QUIET)
    drawing.text(x, 318, "Put together, the rows are the slice", colour=QUIET)
    drawing.text(x, 338, "of the whole table, bit for bit.", colour=QUIET)
    return drawing


def parts() -> Drawing:
    """Draw a table that three hosts write: it gets its name when it is complete."""
    drawing = Drawing(860, 400, "A table written by parts")
    drawing.text(20, 32, "Three hosts write one table; none waits for another", size=17, bold=True)
    left, width, top = 300, 400, 66
    state = (("part 1/3", 1.0), ("part 2/3", 0.55), ("part 3/3", 1.0))
    for number, (name, done) in enumerate(state):
        y = top + number * 58
        drawing.box(24, y + 4, 150, 40, "#f6f8fa", LINE, radius=6)
        drawing.text(99, y + 29, f"host {'ABC'[number]}: --{name}", size=13,
                     anchor="middle")  # fmt: skip
        drawing.arrow(180, y + 24, left - 8, y + 24)
        drawing.box(left, y, width, 48, LEFT, PAPER)
        drawing.box(left, y, width * done, 48, WORDS[number], PAPER)
        words = "complete" if done == 1.0 else "killed: the same command with --resume goes on here"
        drawing.text(left + 12, y + 29, words, size=13)
    drawing.box(left, top, width, 174, "none", QUIET, thick=1.5)
    drawing.text(left + width + 14, top + 82, "table.npy.part", mono=True, size=13)
    drawing.text(left + width + 14, top + 102, "not yet the name", size=12, colour=QUIET)
    y = top + 174
    drawing.arrow(left + width / 2, y + 6, left + width / 2, y + 54)
    drawing.text(left + width / 2 + 16, y + 26, "the last part is complete:", size=13)
    drawing.text(
        left + width / 2 + 16, y + 44, "all other parts are read and compared", size=13,
        colour=QUIET,
    )  # fmt: skip
    for number in range(3):
        drawing.box(left + number * width / 3, y + 62, width / 3, 40, WORDS[number], PAPER)
    drawing.box(left, y + 62, width, 40, "none", MADE, thick=2.5)
    drawing.text(left + width + 14, y + 80, "table.npy", mono=True, size=13, bold=True)
    drawing.text(left + width + 14, y + 98, "whole, on the disk", size=12, colour=QUIET)
    drawing.text(
        20, y + 138, "The bytes are those of one process that writes it all.", colour=QUIET
    )
    return drawing


def rejection() -> Drawing:
    """Draw the attempts of a truncated normal: the first candidate inside is taken."""
    drawing = Drawing(860, 330, "Rejection without state")
    drawing.text(20, 32, "A truncated normal, 16 neighbours, attempt by attempt", size=17,
                 bold=True)  # fmt: skip
    count, left, top, cell = 16, 150, 78, 43
    seed, start = 7, 1816
    normal = initializers.RandomNormal(0.0, 1.0, seed=seed)((start + count,))[start:]
    taken = initializers.TruncatedNormal(0.0, 1.0, seed=seed)((start + count,))[start:]
    for index in range(count):
        drawing.text(left + (index + 0.5) * cell, top - 10, str(start + index), size=11,
                     anchor="middle", colour=QUIET)  # fmt: skip
    drawing.text(left - 12, top - 10, "element", size=12, colour=QUIET, anchor="end")
    drawing.text(left - 12, top + 22, "attempt 0", anchor="end")
    drawing.text(left - 12, top + 82, "attempt 1, 2, …", anchor="end")
    drawing.text(left - 12, top + 142, "value", anchor="end", bold=True)
    for index, (value, result) in enumerate(zip(normal, taken, strict=True)):
        x, kept = left + index * cell, abs(value) <= 2
        drawing.box(x + 1, top, cell - 2, 34, WORDS[0] if kept else "#f9d6c9",
                    LINE if kept else MARK, thick=1 if kept else 2)  # fmt: skip
        drawing.text(x + cell / 2, top + 22, f"{value:.2f}", size=11, anchor="middle")
        if not kept:
            drawing.arrow(x + cell / 2, top + 37, x + cell / 2, top + 57)
            drawing.box(x + 1, top + 60, cell - 2, 34, WORDS[0], LINE)
            drawing.text(x + cell / 2, top + 82, f"{result:.2f}", size=11, anchor="middle")
        drawing.box(x + 1, top + 120, cell - 2, 34, WORDS[0], MADE, thick=1.5)
        drawing.text(x + cell / 2, top + 142, f"{result:.2f}", size=11, anchor="middle")
    lines = (
        "A candidate outside of ±2 is drawn again by the same lane, with the next attempt in the",
        "counter. No neighbour's words are used up, so no neighbour changes: the value is a",
        "function of its element alone, however many attempts it takes.",
    )
    for number, line in enumerate(lines):
        drawing.text(20, top + 186 + number * 20, line, colour=QUIET)
    return drawing


def householder() -> Drawing:
    """Draw the reflectors of an orthogonal matrix: drawn where QR would have computed them."""
    drawing = Drawing(860, 336, "Householder reflectors without the matrix")
    size, cell, top = 8, 18, 92
    drawing.text(20, 32, "An orthogonal matrix without the Gaussian matrix", size=17, bold=True)
    drawing.text(20, 66, "QR of a Gaussian matrix", bold=True)
    drawing.text(330, 66, "What Seedbed draws", bold=True)
    drawing.text(640, 66, "What it computes", bold=True)
    for row in range(size):
        for column in range(size):
            below, done = row >= column, min(row, column) < 3
            fill = (PAPER if row > column else LEFT) if done else WORDS[1]
            drawing.box(20 + column * cell, top + row * cell, cell, cell, fill, LINE)
            drawing.box(330 + column * cell, top + row * cell, cell, cell,
                        WORDS[column % 4] if below else PAPER, LINE)  # fmt: skip
            drawing.box(640 + column * cell, top + row * cell, cell, cell, WORDS[0], LINE)
    drawing.arrow(500, top + 72, 620, top + 72)
    drawing.text(560, top + 60, "I − V M", size=13, anchor="middle", mono=True)
    below = top + size * cell + 26
    for x, lines in (
        (20, ("After each step the rest of the", "matrix is Gaussian again, and", "fresh.")),
        (330, ("So the vector of each reflection", "is itself Gaussian: draw it,",
               "and no more.")),
        (640, ("Q, of half the operations", "and half the normals.")),
    ):  # fmt: skip
        for number, line in enumerate(lines):
            drawing.text(x, below + number * 20, line, size=13, colour=QUIET)
    return drawing


def logo() -> Drawing:
    """Draw a seedling over a bed of cells."""
    drawing = Drawing(64, 64, "Seedbed")
    drawing.parts.pop()  # no paper
    for row in range(2):
        for column in range(5):
            drawing.box(5 + column * 11, 42 + row * 10, 9, 8, ("#8d6e63", "#6d4c41")[row], "none",
                        radius=1.5)  # fmt: skip
    drawing.path("M32 42V22", stroke="#f1f8e9", thick=4)
    drawing.path("M32 26C32 14 22 9 10 9C10 21 18 27 32 26Z", "#a5d6a7", "none")
    drawing.path("M32 22C32 11 41 5 54 6C54 18 46 24 32 22Z", "#dcedc8", "none")
    return drawing


DRAWINGS: tuple[Callable[[], Drawing], ...] = (tile, window, parts, rejection, householder, logo)


def main() -> None:
    """Write every drawing."""
    FOLDER.mkdir(exist_ok=True)
    for draw in DRAWINGS:
        (FOLDER / f"{draw.__name__}.svg").write_text(str(draw()), encoding="utf-8")


if __name__ == "__main__":
    main()
