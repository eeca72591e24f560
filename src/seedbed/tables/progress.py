"""The progress bar of a long run, on a terminal or in a notebook; elsewhere nothing."""

import functools
import sys
from typing import Any

from seedbed_kernels.forking import first_use

from ..locks import renewed


def bar(values: int, nbytes: int, done: int, show: bool) -> Any:
    """Return a tqdm bar over bytes, or a silent one.

    Parameters
    ----------
    values, nbytes : int
        How many there are in all.
    done : int
        Bytes that are there already.
    show : bool
        Whether to show it, where somebody may see it.
    """
    if not (show and (_on_terminal() or _in_notebook())):
        return _Silent()
    return _bar_class()(
        values,
        total=nbytes,
        initial=done,
        miniters=1,  # each update looks at the clock, so that no thread need do so
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}B of {total_fmt}B, {values_rate}, "
        "{bytes_rate}, {remaining} left",
    )


def _on_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()  # None: closed before the start
    except ValueError:  # closed since
        return False


def _in_notebook() -> bool:
    return "ipykernel.zmqshell" in sys.modules  # there `tqdm.auto` shows widgets, or else text


@functools.cache
def _bar_class() -> type:
    with first_use():
        from tqdm.auto import tqdm
        from tqdm.std import TqdmDefaultWriteLock  # pyright: ignore[reportAttributeAccessIssue]

    renewed(TqdmDefaultWriteLock.th_lock)

    class Bar(tqdm):
        monitor_interval = 0  # else a thread that nobody ends watches each class of bars

        def __init__(self, values: int, **options: Any) -> None:
            self.values = values
            super().__init__(**options)

        @property
        def format_dict(self) -> dict[str, Any]:
            fields = dict(super().format_dict)
            rate = fields["rate"] or (self.n - self.initial) / max(fields["elapsed"], 1e-9)
            values = rate * self.values / max(self.total, 1)
            fields["values_rate"] = f"{values / 1e6:,.0f} M values/s"
            fields["bytes_rate"] = f"{rate / 1e9:.2f} GB/s"
            return fields

    return Bar


class _Silent:
    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, nbytes: int) -> None:
        pass


def readable(nbytes: int) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> readable(256_000_000)
    '256 MB'
    """
    size, units = float(nbytes), iter(("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"))
    unit = next(units)
    while size >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.3g} {unit}"
