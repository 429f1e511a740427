"""What compressing would give, for several fractions, without doing it: `smh.plan`."""

from __future__ import annotations

import csv
import io
import math
import numbers
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import keras

from smh.built import check_is_built
from smh.compressible import Selected, numbers_in, select
from smh.errors import ArgumentError
from smh.multiply_adds import Cost, count_multiply_adds
from smh.pool_shape import PoolShape, choose_sides, rounded_up, too_small
from smh.replacing import replacing
from smh.typing import Selector
from smh.virtual_variable import own_layers, own_variables
from smh.weight_spec import itemsize

if TYPE_CHECKING:
    from rich.table import Table

FRACTIONS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True)
class PlanRow:
    """One fraction.

    Attributes:
        fraction: as it would be given to `smh.compress`.
        replicas: the rank of the pool's product.
        trained: numbers that the model would train.
        bytes: bytes of all that is stored, as it is trained.
        bytes_8_bits: the same with factors of 8 bits; neither entropy-coded nor with a header.
        bytes_4_bits: with factors of 4 bits.
        product: multiply-adds that each call adds, whatever the batch; backward twice as many.
        product_in_examples: these over what the dense model takes for one example, if known.
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
class Plan:
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
    """

    name: str
    rows: tuple[PlanRow, ...]
    smallest: float
    selected: int
    trained: int
    bytes: int
    multiply_adds: int | None
    remark: str

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the rows to `path`, replacing it only once all is written."""
        with replacing(path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(PlanRow)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)

    def __rich__(self) -> Table:
        """The table that `rich` prints."""
        from rich.table import Table

        table = Table(title=f"smh plan: {self.name}", title_justify="left")
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
            "examples: the same over what the dense model takes for one example.",
        ]
        return "\n".join([*lines, *([self.remark] if self.remark else [])])

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=80, record=True)
        console.print(self)
        return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()


def plan(
    model: keras.Model,
    fractions: Sequence[float] | None = None,
    *,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    input_shape: Any = None,
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
    selected = select(model, apply_to, exclude)
    total, given = numbers_in(selected), FRACTIONS if fractions is None else fractions
    smallest = choose_sides(_shapes(selected), 0).replica_size / total
    checked = [_checked(fraction, smallest) for fraction in given] if fractions is not None else []
    chosen = checked or [fraction for fraction in given if fraction >= smallest]
    cost, remark = _cost(model, input_shape)
    own = None if cost is None else cost.multiply_adds
    variables = {id(v): v for layer in own_layers(model) for v in own_variables(layer)}.values()
    sizes = _Sizes(
        trained=sum(math.prod(v.shape) for v in model.trainable_variables),
        bytes=sum(math.prod(v.shape) * itemsize(v.dtype) for v in variables),
        selected=total,
        selected_bytes=sum(math.prod(i.spec.shape) * itemsize(i.spec.dtype) for i in selected),
        scales=len(selected),
    )
    shapes = [choose_sides(_shapes(selected), math.floor(f * total + 1e-9)) for f in chosen]
    rows = [sizes.row(f, shape, own) for f, shape in zip(chosen, shapes, strict=True)]
    return Plan(model.name, tuple(rows), smallest, total, sizes.trained, sizes.bytes, own, remark)


@dataclass(frozen=True)
class _Sizes:
    """Of the dense model."""

    trained: int
    bytes: int
    selected: int
    selected_bytes: int
    scales: int

    def row(self, fraction: float, shape: PoolShape, own: int | None) -> PlanRow:
        rest = self.bytes - self.selected_bytes + 4 * self.scales
        product = shape.size * shape.replicas
        return PlanRow(
            float(fraction),
            shape.replicas,
            self.trained - self.selected + self.scales + shape.core_size,
            rest + 4 * shape.core_size,
            rest + shape.core_size,
            rest + sum(-(-side * shape.replicas // 2) for side in (shape.rows, shape.cols)),
            product,
            product / own if own else None,
        )


def _shapes(selected: Sequence[Selected]) -> list[tuple[int, ...]]:
    return [item.spec.shape for item in selected]


def _checked(fraction: Any, smallest: float) -> float:
    if not isinstance(fraction, numbers.Real) or isinstance(fraction, bool):
        raise ArgumentError(f"fractions must be numbers, got {fraction!r}.")
    fraction = float(fraction)
    if not 0 < fraction <= 1:
        raise ArgumentError(f"A fraction must be above 0 and at most 1, got {fraction:g}.")
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
    return cost, f"Not counted in it: {names}{f' and {more} more' if more > 0 else ''}."


def _short(number: float, unit: str = "") -> str:
    """Three digits and a prefix: `1.23 M`."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.5 or prefix == "T":
            break
        number /= 1000
    digits = f"{number:.0f}" if not prefix or number >= 99.95 else f"{number:.3g}"
    return f"{digits} {prefix}{unit}".rstrip()
