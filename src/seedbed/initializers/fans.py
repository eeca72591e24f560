"""How many inputs and outputs a unit has, from the shape of its weight."""

import math
from collections.abc import Sequence

from ..errors import ArgumentError, brief, naming


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
    *,
    in_axis: int | Sequence[int] | None = None,
    out_axis: int | Sequence[int] | None = None,
    batch_axis: int | Sequence[int] | None = None,
) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight.

    Parameters
    ----------
    shape : sequence of int
        Rank 0 has fans of 1, rank 1 both of its length, rank 2 its rows and columns. From rank 3
        on it is a convolution kernel, (..., inputs, outputs), and the leading axes are the
        receptive field, which multiplies both.
    input_axes, output_axes : sequence of int, optional
        Where both are given, the fans are the products of the lengths of these axes.
    in_axis, out_axis, batch_axis : int or sequence of int, optional
        As in ``jax.nn.initializers``: where one is given, the others are -2, -1 and none, all
        further axes are the receptive field, and axes of a batch count for nothing.

    Examples
    --------
    >>> compute_fans((3, 3, 16, 32))
    (144, 288)
    >>> compute_fans((64, 8, 16), input_axes=[0], output_axes=[1, 2])
    (64, 128)
    >>> compute_fans((12, 64, 128), batch_axis=0)
    (64, 128)
    """
    with naming("compute_fans"):
        return fans_of(shape, input_axes, output_axes, in_axis, out_axis, batch_axis)


def fans_of(
    shape: Sequence[int],
    input_axes: Sequence[int] | None,
    output_axes: Sequence[int] | None,
    in_axis: int | Sequence[int] | None,
    out_axis: int | Sequence[int] | None,
    batch_axis: int | Sequence[int] | None,
) -> tuple[int, int]:
    """Return (fan_in, fan_out), with errors that name no owner."""
    if not in_axis is out_axis is batch_axis is None:
        return _of_axes(
            shape,
            -2 if in_axis is None else in_axis,
            -1 if out_axis is None else out_axis,
            () if batch_axis is None else batch_axis,
        )
    if input_axes is None and len(shape) == 2:  # most calls, and small ones should be quick
        return int(shape[0]), int(shape[1])
    shape = tuple(map(int, shape))
    if input_axes is not None and output_axes is not None:
        return (
            math.prod(shape[axis] for axis in input_axes),
            math.prod(shape[axis] for axis in output_axes),
        )
    if len(shape) == 0:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    receptive_field_size = math.prod(shape[:-2])
    return shape[-2] * receptive_field_size, shape[-1] * receptive_field_size


def _of_axes(shape: Sequence[int], *axes: int | Sequence[int]) -> tuple[int, int]:
    found = range(len(shape))
    inputs, outputs, batch = (
        [found[axis] for axis in ([group] if isinstance(group, int) else group)] for group in axes
    )
    if len({*inputs, *outputs, *batch}) < len(inputs) + len(outputs) + len(batch):
        raise ArgumentError(
            "in_axis, out_axis and batch_axis must not share an axis; "
            f"given {', '.join(map(brief, axes))} for {brief(tuple(shape))}"
        )
    lengths = dict(enumerate(map(int, shape)))
    return (
        math.prod(length for axis, length in lengths.items() if axis not in (*outputs, *batch)),
        math.prod(length for axis, length in lengths.items() if axis not in (*inputs, *batch)),
    )
