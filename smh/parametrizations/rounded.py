"""A factor on a grid of few bits: the parametrization, and how its grid is chosen.

The grid is `scale * {-h, ..., h}` with `h = 2**(bits - 1) - 1`, the one of `smh.coding.Uniform`. It
leaves one of the `2**bits` integers out, so that it is symmetric, as factors are (changing the
sign of a replica in both changes nothing): rounding then has no bias, and zero stays zero. The
entropy coder charges nothing for an integer that does not occur.

The scale is `ratio / h * max|w|`, of the numbers that share it, as they are at every call. The
ratio is the one of least squared error when the factor is quantised: the largest number is worth
cutting off, the more so the fewer the bits. Such a scale follows the factor while it is trained
and adds no variable; and a maximum is the same number in whatever order it is taken, so that every
compiler and machine gets the same scale, to the last bit, as the artifact.

What an artifact is loaded into has to find the scales again. `h` steps are rounded to float32, and
the scale of them may be another in its last bit; `h + 1` steps, a power of two, are exact. So where
the rounded numbers alone do not give their scales, one number of each, at the grid's end, is put
a step beyond it, and cut off there as before (`behind`).

Scratch runs on LeNet-300-100, MNIST, 16 replicas, rounded in the last 4 of 10 epochs: mean error
of three seeds (up to 0.3 points apart, 0.9 at 2 bits), which is 2.98 % with float factors:

| scales | 4 bits | 3 bits | 2 bits |
| --- | --- | --- | --- |
| one per factor, ratio of least error | 3.00 | 3.22 | 4.46 |
| the same, no gradient where a number is cut off | 3.02 | 3.19 | 4.37 |
| one per factor, ratio 1 | 3.08 | 4.10 | 49 (one seed) |
| one per factor, learned by gradient (LSQ) | 2.93 | 3.19 | 4.59 |
| one per replica, ratio of least error | 2.95 | 3.46 | 4.55 |

Reference: the straight-through estimator: Bengio, Leonard, Courville, "Estimating or Propagating
Gradients Through Stochastic Neurons for Conditional Computation" (2013); learned scales: Esser et
al., "Learned Step Size Quantization", ICLR 2020.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.coding.axes import axis_of, scale_count
from smh.errors import ArgumentError, ArtifactError
from smh.parametrizations import counting
from smh.parametrizations.own_numbers import OwnNumbers
from smh.typing import Shape, Tensor

PER = ("tensor", "row", "column")
WHOLE = 64  # a ratio is counted in 64ths
BEYOND = 0  # in place of a ratio: the largest number to round is a step beyond the grid's end
_SMALLEST = float(np.finfo(np.float32).tiny)  # below, some machines take a number for zero


@dataclass(frozen=True)
class Grid:
    """Where rounded numbers may lie.

    Attributes:
        bits: 2 to 8.
        per: what shares a scale: the 'tensor', a 'row' (index of the first axis) or a 'column'
            (index of the last axis).
        ratio: the largest number of the grid over the largest number to round, in 64ths: 1 to 64,
            or `BEYOND`.
    """

    bits: int
    per: str
    ratio: int

    @property
    def half(self) -> int:
        """The largest integer."""
        return 2 ** (self.bits - 1) - 1

    @property
    def _share(self) -> float:
        """The largest number of the grid over the largest number to round."""
        return self.half / (self.half + 1) if self.ratio == BEYOND else self.ratio / WHOLE

    def scales(self, weight: Tensor) -> Tensor:
        """The scales, in a shape that broadcasts against `weight`; 0 where all is zero."""
        # One constant: TensorFlow's graphs multiply by the reciprocal where eager mode divides. A
        # Python number, rounded as float32: not every backend takes NumPy's.
        factor = float(np.float32(self._share / self.half))
        axes = _shared(len(weight.shape), self.per)
        scales = ops.max(ops.abs(weight), axis=axes, keepdims=True) * factor
        return ops.where(scales < _SMALLEST, 0.0, scales)

    def integers(self, weight: Tensor, scales: Tensor) -> Tensor:
        """The nearest integers, ties to even, as floats."""
        steps = ops.where(scales == 0, 1.0, scales)  # a row of zeros has no scale
        return ops.clip(ops.round(weight / steps), -self.half, self.half)

    def rounded(self, weight: Tensor) -> Tensor:
        """The nearest numbers of the grid."""
        scales = self.scales(weight)
        return self.integers(weight, scales) * scales

    def scale_count(self, shape: Shape) -> int:
        """How many scales there are."""
        return scale_count(shape, self.per)

    def bytes(self, shape: Shape) -> int:
        """Bytes of the integers at this width, and of float32 scales; without entropy coding."""
        return counting.rounded(shape, self.bits, self.per).tally.packed


def _shared(rank: int, per: str) -> tuple[int, ...]:
    """The axes along which a scale is shared."""
    kept = axis_of(per, rank)
    return tuple(axis for axis in range(rank) if axis != kept)


@keras.saving.register_keras_serializable(package="smh")
class FakeQuantized(OwnNumbers):
    """Rounds what readers of a factor or weight see; the gradient passes as if nothing was rounded.

    Also where a number is cut off at the grid's end: its gradient may lead it back.

    Args:
        factor: the variable; it stays float32, and is what training changes. It may be virtual
            itself (pruned, say).
        grid: where its rounded numbers lie.
    """

    def __init__(self, factor: keras.Variable, grid: Grid):
        self.factor = factor
        self.grid = grid

    @property
    def parts(self):
        """The factor."""
        return (self.factor,)

    def get_config(self):
        """Describes the grid."""
        return asdict(self.grid)

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        """Makes it again, on new `parts`; raises `ArtifactError`."""
        (factor,) = parts.values()
        return cls(factor, _checked(config["bits"], config["per"], config["ratio"], spec.path))

    def value(self, piece):
        """Returns the rounded factor."""
        del piece
        latent = self.factor.value
        fixed = ops.stop_gradient(latent)
        # Not `latent + stop_gradient(rounded - latent)`, whose sum is off by a bit: here the
        # difference is zero, and what is computed with is the number that the artifact holds.
        return self.grid.rounded(fixed) + (latent - fixed)

    def step_sizes(self, latent: Tensor) -> Tensor:
        """The step of each number, in a shape that broadcasts against `latent`; 0 of zeros."""
        return self.grid.scales(latent)

    def counted(self) -> counting.Counted:
        """Counts bits and scales."""
        return counting.rounded(tuple(self.factor.shape), self.grid.bits, self.grid.per)

    def state(self) -> np.ndarray:
        """The grid as integers, for files."""
        return np.array([self.grid.bits, PER.index(self.grid.per), self.grid.ratio], "int32")

    def check_state(self, state):
        """Raises if the file's factor was trained for other bits."""
        if state is not None and _of_state(state, self.factor.path).bits != self.grid.bits:
            raise ArgumentError(
                f"The file holds '{self.factor.path}' trained for {state[0]} bits, and the model "
                f"rounds it to {self.grid.bits}. Call smh.quantize_factors (of dense weights "
                f"smh.quantize_weights) with bits={state[0]} before loading; the bits may be "
                "changed afterwards."
            )

    def restore(self, state):
        """Takes the grid of a file, or, if there was none, fits the ratio to the factor loaded."""
        if state is None:
            weight = ops.convert_to_numpy(self.factor.value)
            self.grid = fit_grid(weight, self.grid.bits, self.grid.per, self.factor.path)
        else:
            self.grid = _of_state(state, self.factor.path)


def behind(rounded: np.ndarray, grid: Grid, path: str = "factor") -> tuple[np.ndarray, Grid]:
    """Returns numbers to train, and their grid, in which `rounded` is seen, bit for bit.

    Args:
        rounded: float32, each an integer times its scale: what a file holds.
        grid: whose bits, and whose sharing of scales, they have.
        path: for errors.

    Raises:
        ArtifactError: if no scale follows from them: they do not reach the grid's end.

    Cost: the numbers are rounded once; where that is not enough, six times, in NumPy but for one.
    """
    found = replace(grid, ratio=WHOLE)
    if _is_seen(rounded, found, rounded):
        return rounded, found
    latent, found = _put_beyond(rounded, grid), replace(grid, ratio=BEYOND)
    if _is_seen(latent, found, rounded):
        return latent, found
    raise ArtifactError(
        f"'{path}' is said to be rounded to {grid.bits} bits, scale per {grid.per}. What shares a "
        f"scale is not whole multiples of it then, of which the largest is {grid.half} times it."
    )


def _is_seen(latent: np.ndarray, grid: Grid, rounded: np.ndarray) -> bool:
    found = ops.convert_to_numpy(grid.rounded(ops.convert_to_tensor(latent)))
    return np.array_equal(found, rounded)


def _put_beyond(rounded: np.ndarray, grid: Grid) -> np.ndarray:
    """The same numbers, but of each scale the first of the largest a step beyond the grid's end."""
    axis = axis_of(grid.per, rounded.ndim)
    lead = rounded[None] if axis is None else np.moveaxis(rounded, axis, 0)
    lanes = lead.reshape(len(lead), -1).copy()  # [scales, numbers]
    largest = np.arange(len(lanes)), np.abs(lanes).argmax(axis=1)
    step = _steps(lanes, np.abs(lanes[largest]) / np.float32(grid.half))
    lanes[largest] = np.copysign(step * np.float32(grid.half + 1), lanes[largest])
    put = lanes.reshape(lead.shape)
    return put[0] if axis is None else np.moveaxis(put, 0, axis)


def _steps(lanes: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The scales, float32 `[scales]`, of which all of `lanes` are multiples; or else `near`.

    The end of the grid was rounded, and so was its share: together by the last bit at most.
    """
    tried = np.stack([near, *(np.nextafter(near, np.float32(to)) for to in (0, np.inf))])
    fits = [_are_multiples(lanes, steps) for steps in tried]
    return tried[np.argmax(fits, axis=0), np.arange(len(near))]


def _are_multiples(lanes: np.ndarray, step: np.ndarray) -> np.ndarray:
    step = np.where(step < _SMALLEST, np.float32(1), step)[:, None]
    return (np.rint(lanes / step) * step == lanes).all(axis=1)


def _of_state(state: np.ndarray, path: str) -> Grid:
    bits, per, ratio = (int(number) for number in state)
    return _checked(bits, PER[per] if 0 <= per < len(PER) else per, ratio, path)


def _checked(bits: Any, per: Any, ratio: Any, path: str) -> Grid:
    """A grid that came from a file."""
    whole = type(bits) is int and type(ratio) is int
    if not whole or not 2 <= bits <= 8 or per not in PER or not BEYOND <= ratio <= WHOLE:
        raise ArtifactError(
            f"'{path}' is said to be rounded to bits={bits!r:.20}, per={per!r:.20}, "
            f"ratio={ratio!r:.20}; expected 2 to 8, one of {', '.join(PER)}, and {BEYOND} to "
            f"{WHOLE}."
        )
    return Grid(bits, per, ratio)


def fit_grid(weight: np.ndarray, bits: int, granularity: str, path: str = "factor") -> Grid:
    """Chooses the grid for a factor by the squared error of rounding it.

    Args:
        weight: the factor, any shape.
        bits: 2 to 8.
        granularity: 'tensor', 'row', 'column', or 'auto'. A bit more per number makes the error
            four times smaller, so `auto` weighs each error by 4 to the power of the bits per number
            that its scales cost: many scales have to pay for themselves.
        path: for errors.

    Raises:
        ArgumentError: if a number is not finite.

    Cost: 64 roundings of the factor for each granularity.
    """
    weight = np.asarray(weight, "float32")
    if not np.isfinite(weight).all():
        raise ArgumentError(
            f"'{path}' has numbers that are not finite (NaN or infinity), so it has no scale. "
            "Restore the model as it was before its training diverged."
        )
    if weight.ndim < 2:
        granularity = "tensor"  # a vector has no rows
    choices = _worth_trying(weight.shape) if granularity == "auto" else (granularity,)
    fitted = [_fit_ratio(weight, bits, per) for per in choices]
    return min(fitted, key=lambda pair: pair[0])[1]


def _worth_trying(shape: Shape) -> list[str]:
    """All but a scale for each number: nothing would be rounded, and nothing smaller."""
    counts = {per: Grid(8, per, WHOLE).scale_count(shape) for per in PER}
    return [per for per in PER if per == "tensor" or counts[per] < math.prod(shape)]


def _fit_ratio(weight: np.ndarray, bits: int, per: str) -> tuple[float, Grid]:
    """The best grid of one granularity, with its weighed error."""
    largest = np.abs(weight).max(axis=_shared(weight.ndim, per), keepdims=True)
    unit = weight / np.where(largest < _SMALLEST, 1, largest)  # from -1 to 1
    errors = {}
    for ratio in range(WHOLE, 0, -1):
        half = Grid(bits, per, ratio).half
        step = np.float32(ratio / WHOLE / half)
        off = (np.clip(np.rint(unit / step), -half, half) * step - unit) * largest
        errors[ratio] = float(np.square(off, dtype="float64").sum())
    best = min(errors, key=lambda ratio: errors[ratio])  # the largest ratio, if all is zero
    grid = Grid(bits, per, best)
    cost = counting.SCALE_BITS * grid.scale_count(weight.shape) / weight.size
    return errors[best] * 4.0**cost, grid
