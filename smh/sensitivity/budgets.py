"""Whether a budget can be kept at all, before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from smh.sensitivity.result import ScanResult, ScanRow
from smh.sensitivity.scanned import find_candidates
from smh.typing import Selector


def check_budget(
    model: keras.Layer,
    budget: float,
    kind: str,
    levels: Sequence[float],
    *,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
) -> None:
    """Asks a scan whose every level costs nothing for a suggestion.

    Args:
        model: what is going to be scanned.
        budget: as of `ScanResult.suggest`.
        kind: `"sparsity"` or `"bits"`.
        levels: what is going to be scanned.
        apply_to: as of the scan.
        exclude: as of the scan.

    Raises:
        ArgumentError: the budget is out of reach at these levels, or is none.
        SelectionError: nothing is selected.
    """
    candidates = find_candidates(model, apply_to, exclude, prunable=kind == "sparsity")
    sizes: dict[str, int] = {}
    for one in candidates:  # those of one path change together
        sizes[one.path] = sizes.get(one.path, 0) + one.numel
    bits = {one.path: one.bits for one in reversed(candidates)}  # the first counts, as in a scan
    free = {"cost": 0.0}
    rows = [
        ScanRow(path, level, numel, bits[path], free)
        for path, numel in sizes.items()
        for level in levels
    ]
    ScanResult(model.name, kind, "cost", False, free, tuple(rows), len(rows)).suggest(budget)
