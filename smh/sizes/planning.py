"""What compressing would give, for several fractions, without doing it: `smh.plan`."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import keras

from smh.container.replacing import replacing
from smh.doors.built import check_is_built
from smh.doors.compressible import Selected, numbers_in, select
from smh.errors import ArgumentError
from smh.errors.limits import BLOCKS, FRACTION
from smh.pools.grouping import automatic_blocks, group_weights, least_fraction
from smh.pools.shape import PoolShape, rounded_up, too_small
from smh.sizes.multiply_adds import Cost, count_multiply_adds
from smh.sizes.ways import Way, ways
from smh.tables import Printed, new_table
from smh.typing import Selector, Shape, itemsize
from smh.virtual_variable import own_layers, own_variables

if TYPE_CHECKING:
    from rich.table import Table

FRACTIONS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True)
class PlanRow:
    """One fraction.

    Attributes:
        fraction: as it would be given to `smh.compress`.
        replicas: the rank of the pool's product; of several the smallest.
        trained: numbers that the model would train.
        bytes: bytes of all that is stored, as it is trained.
        bytes_8_bits: the same with factors of 8 bits; neither entropy-coded nor with a header.
        bytes_4_bits: with factors of 4 bits.
        product: multiply-adds that each call adds, whatever the batch; backward twice as many.
        product_in_examples: these over what the dense model takes for one example; `None` unless
            that is known of all layers.
    """

    fraction: float
    replicas: int
    trained: int
    bytes: int
    bytes_8_bits: int
    bytes_4_bits: int
    product: int
    product_in_examples: float | None


@dataclass(frozen=True)
class Plan(Printed):
    """What `smh.plan` returns; `print` shows it as a table.

    Attributes:
        name: name of the model.
        rows: one for each fraction.
        smallest: the smallest fraction that `smh.compress` takes for this model.
        selected: numbers in the weights that would be compressed.
        trained: numbers that the model trains now.
        bytes: bytes of its variables now.
        multiply_adds: of the dense model for one example, or `None` if not known.
        remark: which layers they leave out, or why they are not known; else empty.
        ways: for files 10, 50 and 300 times smaller, of 1,000 bytes or more, how to make them.
    """

    name: str
    rows: tuple[PlanRow, ...]
    smallest: float
    selected: int
    trained: int
    bytes: int
    multiply_adds: int | None
    remark: str
    ways: tuple[Way, ...] = ()

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the rows to `path`, replacing it only once all is written."""
        with replacing(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(PlanRow)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        table = new_table(f"smh plan: {self.name}")
        for title in ("fraction", "trained", "float32", "8 bits", "4 bits", "product", "examples"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in self.rows:
            sizes = (row.bytes, row.bytes_8_bits, row.bytes_4_bits)
            examples = row.product_in_examples
            table.add_row(
                f"{row.fraction:g}",
                f"{row.trained:,}",
                *(_short(size, "B") for size in sizes),
                _short(row.product),
                "?" if examples is None else f"{examples:.3g}",
            )
        table.add_section()
        own = "?" if self.multiply_adds is None else _short(self.multiply_adds)
        table.add_row("dense", f"{self.trained:,}", _short(self.bytes, "B"), "", "", own, "1")
        table.caption = self._caption()
        table.caption_justify = "left"
        return table

    def _caption(self) -> str:
        lines = [
            f"The smallest fraction is {rounded_up(self.smallest)}, of {self.selected:,} numbers.",
            "product: multiply-adds of a call, forward, whatever the batch;",
            "examples: that, over what the dense model takes for one.",
        ]
        lines += [self.remark] if self.remark else []
        if self.ways:
            lines += ["", "Smaller files, as it went best in what was measured:"]
            lines += [f"{way.times:>3}x, {_short(way.bytes, 'B')}: {way.how}" for way in self.ways]
        return "\n".join(lines)


def plan(
    model: keras.Model,
    fractions: Sequence[float] | None = None,
    *,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    input_shape: Any = None,
    blocks: int | Literal["auto"] = 1,
) -> Plan:
    """Says what `smh.compress` would make of a model, for several fractions, and changes nothing.

    Args:
        model: a built model, as for `smh.compress`.
        fractions: in (0, 1], not below the smallest that works. Default: 0.5 to 0.01, those of them
            that work.
        apply_to: as for `smh.compress`.
        exclude: as for `smh.compress`.
        input_shape: of one example without the batch, or a list of them, for the cost of the dense
            model. Needed where an axis is free, or a subclassed model was built by a call.
        blocks: as for `smh.compress`.

    Returns:
        A `Plan`: `print(plan)`, `plan.rows`, `plan.smallest`, `plan.to_csv(path)`.

    Raises:
        UnbuiltModelError: the model has no weights yet.
        SelectionError: nothing is selected.
        ArgumentError: a fraction that cannot work.

    Cost: the model is called on symbolic tensors once; nothing is computed or allocated.

    Example:
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300)])
        >>> for row in smh.plan(model, fractions=[0.1, 0.02]).rows:
        ...     print(row.fraction, row.trained, row.bytes, row.bytes_4_bits)
        0.1 23581 94324 12844
        0.02 4181 16724 3144
    """
    check_is_built(model)
    dense = _Dense.of(model, select(model, apply_to, exclude))
    if blocks != "auto":
        blocks = BLOCKS.checked(blocks, "blocks")
    smallest = dense.smallest(1 if blocks == "auto" else blocks)
    chosen = _chosen(fractions, smallest)
    cost, remark = _cost(model, input_shape)
    own = None if cost is None else cost.multiply_adds
    whole = None if cost is None or cost.not_counted else own
    return Plan(
        model.name,
        tuple(dense.row(fraction, whole, blocks) for fraction in chosen),
        smallest,
        dense.selected,
        dense.trained,
        dense.bytes,
        own,
        remark,
        ways(dense.bytes, dense.numbers),
    )


@dataclass(frozen=True)
class _Dense:
    """The dense model: shapes of the selected weights, and numbers and bytes as in a `Plan`.

    `numbers` are all that it has.
    """

    shapes: tuple[Shape, ...]
    selected: int
    selected_bytes: int
    trained: int
    bytes: int
    numbers: int

    @classmethod
    def of(cls, model: keras.Layer, selected: Sequence[Selected]) -> _Dense:
        variables = {id(v): v for layer in own_layers(model) for v in own_variables(layer)}
        return cls(
            tuple(item.spec.shape for item in selected),
            numbers_in(selected),
            sum(_bytes(item.variable) for item in selected),
            sum(math.prod(v.shape) for v in model.trainable_variables),
            sum(_bytes(variable) for variable in variables.values()),
            sum(math.prod(variable._shape) for variable in variables.values()),
        )

    def smallest(self, blocks: int) -> float:
        return least_fraction(group_weights(self.shapes, 0, blocks), self.selected)

    def row(self, fraction: float, own: int | None, blocks: int | Literal["auto"]) -> PlanRow:
        budget = math.floor(fraction * self.selected + 1e-9)
        if blocks == "auto":
            blocks = automatic_blocks(self.shapes, budget)
        pools = [group.shape for group in group_weights(self.shapes, budget, blocks)]
        scales = len(self.shapes)
        rest = self.bytes - self.selected_bytes + 4 * scales
        core = sum(pool.core_size for pool in pools)
        product = sum(pool.size * pool.replicas for pool in pools)
        return PlanRow(
            fraction,
            min(pool.replicas for pool in pools),
            self.trained - self.selected + scales + core,
            rest + 4 * core,
            rest + core,
            rest + sum(_four_bits(pool) for pool in pools),
            product,
            product / own if own else None,
        )


def _four_bits(pool: PoolShape) -> int:
    """Bytes of both factors."""
    numbers = pool.blocks * pool.replicas
    return sum(-(-side * numbers // 2) for side in (pool.rows, pool.cols))


def _bytes(variable: keras.Variable) -> int:
    return math.prod(variable._shape) * itemsize(variable._dtype)


def _chosen(fractions: Sequence[float] | None, smallest: float) -> list[float]:
    if fractions is None:
        return [fraction for fraction in FRACTIONS if fraction >= smallest]
    return [_checked(fraction, smallest) for fraction in fractions]


def _checked(fraction: Any, smallest: float) -> float:
    fraction = FRACTION.checked(fraction, "A fraction")
    if fraction < smallest:
        raise too_small(fraction, smallest)
    return fraction


def _cost(model: keras.Layer, input_shape: Any) -> tuple[Cost | None, str]:
    """What the dense model takes, and what there is to say of it."""
    try:
        cost = count_multiply_adds(model, input_shape)
    except ArgumentError as error:
        if input_shape is not None:
            raise
        return None, str(error)
    if not cost.not_counted:
        return cost, ""
    names, more = ", ".join(cost.not_counted[:5]), len(cost.not_counted) - 5
    names += f" and {more} more" if more > 0 else ""
    return cost, f"Not counted in it: {names}."


def _short(number: float, unit: str = "") -> str:
    """Three digits and a prefix: `1.23 M`."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.5 or prefix == "T":
            break
        number /= 1000
    digits = f"{number:.0f}" if not prefix or number >= 99.95 else f"{number:.3g}"
    return f"{digits} {prefix}{unit}".rstrip()
