"""The progress bar of a long run; nothing where standard error is not a terminal."""

from typing import Any


def bar(values: int, nbytes: int, done: int, show: bool) -> Any:
    """Return a tqdm bar over bytes, or a silent one.

    Parameters
    ----------
    values, nbytes : int
        How many there are in all.
    done : int
        Bytes that are there already.
    show : bool
        Whether to show it, on a terminal.
    """
    if not show:
        return _Silent()
    from tqdm import tqdm

    class Bar(tqdm):
        @property
        def format_dict(self) -> dict[str, Any]:
            fields = dict(super().format_dict)
            rate = fields["rate"] or (self.n - self.initial) / max(fields["elapsed"], 1e-9)
            fields["values_rate"] = f"{rate * values / max(nbytes, 1) / 1e6:,.0f} M values/s"
            fields["bytes_rate"] = f"{rate / 1e9:.2f} GB/s"
            return fields

    return Bar(
        total=nbytes,
        initial=done,
        disable=None,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}B of {total_fmt}B, {values_rate}, "
        "{bytes_rate}, {remaining} left",
    )


class _Silent:
    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, nbytes: int) -> None:
        pass
