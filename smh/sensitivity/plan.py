"""How a scan goes: every path at every level, its numbers changed, measured and put back."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smh.errors import ArgumentError, SmhWarning
from smh.progress import listening
from smh.sensitivity.evaluating import checked
from smh.sensitivity.metrics import as_measure, choose_metric
from smh.sensitivity.picture import without_middle
from smh.sensitivity.result import ScanResult, ScanRow
from smh.sensitivity.resuming import resuming
from smh.sensitivity.scanned import Scanned
from smh.sensitivity.second_order import (
    DIVERGENCE,
    Change,
    SecondOrder,
    check_are_examples,
    corrected,
    places_to_measure,
)
from smh.virtual_variable.inside_keras.replicas import check_outside_scope

METHODS = ("exact", "fisher")


@dataclass(frozen=True)
class Plan:
    """What is scanned: every path at every level, changed by `change`.

    Variables of the same path change together: `apply_to` and the calls that take a suggestion
    cannot tell them apart either.
    """

    kind: str
    candidates: Sequence[Scanned]
    levels: Sequence[float]
    change: Callable[[Scanned, np.ndarray, float, int], np.ndarray]

    @property
    def groups(self) -> dict[str, list[Scanned]]:
        """The candidates by path."""
        found: dict[str, list[Scanned]] = {}
        for candidate in self.candidates:
            found.setdefault(candidate.path, []).append(candidate)
        return found


def scan(
    model, plan: Plan, evaluate, metric, higher_is_better, stop, method, verbose
) -> ScanResult:
    """Measures the plan's rows, or estimates them; arguments as of `smh.sensitivity_scan`."""
    if stop is not None and not callable(stop):
        raise ArgumentError(f"stop must be a function of a row, or None, got {stop!r}.")
    if method not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(METHODS)}, got {method!r:.80}.")
    estimates = method == "fisher"
    if estimates:
        if metric is not None or higher_is_better is not None:
            raise ArgumentError(
                "method='fisher' estimates the divergence of the outputs: it takes no metric and "
                "no higher_is_better."
            )
        check_outside_scope("method='fisher'")
        check_are_examples(evaluate)
        higher_is_better = False
        measure = _nothing_changed
    else:
        evaluate = checked(model, evaluate)
        measure = as_measure(model, evaluate, metric)
    rows: list[ScanRow] = []
    planned = len(plan.groups) * len(plan.levels)
    _warn_about_equal_paths(plan)
    with _progress(planned, verbose) as show:
        show("unchanged", None)
        baseline = measure()
        chosen = choose_metric(baseline, metric, higher_is_better)

        def add(row: ScanRow) -> bool:
            if chosen.name not in row.metrics:
                raise ArgumentError(f"evaluate no longer returns {chosen.name!r}.")
            rows.append(row)
            show(None, f"{chosen.name} {row.metrics[chosen.name]:.4g}")
            return stop is not None and bool(stop(row))

        try:
            if estimates:
                _estimate_all(model, plan, evaluate, show, add)
            else:
                resume = resuming(model, evaluate, measure, baseline)
                _measure_all(plan, resume, show, add)
        except KeyboardInterrupt:
            warnings.warn(
                f"Interrupted after {len(rows)} of {planned} evaluations. The model is as it was; "
                "the result holds what was measured.",
                SmhWarning,
                stacklevel=3,
            )
    result = ScanResult(
        model.name, plan.kind, chosen.name, chosen.higher_is_better, baseline, tuple(rows), planned
    )
    if chosen.is_guess:
        _warn_if_all_improve(result)
    return result


def _measure_all(plan: Plan, resume, show, add) -> None:
    """Adds one row after the other, until `add` returns true."""
    for path, group in plan.groups.items():
        show(f"{without_middle(path, 24)}", None)
        measure = resume(group)  # while nothing is changed
        with contextlib.ExitStack() as stack:
            stored = [stack.enter_context(candidate.kept()) for candidate in group]
            numel, bits = sum(c.numel for c in group), group[0].bits
            for level in plan.levels:
                show(f"{without_middle(path, 24)} {level:g}", None)
                for candidate, own in zip(group, stored, strict=True):
                    number = plan.candidates.index(candidate)
                    candidate.variable.assign(plan.change(candidate, own, level, number))
                if add(ScanRow(path, level, numel, bits, measure())):
                    return


def _nothing_changed() -> dict[str, float]:
    return {DIVERGENCE: 0.0}


def _estimate_all(model, plan: Plan, data, show, add) -> None:
    """As `_measure_all`, but nearly all by the numbers alone."""
    groups = [[(c.variable, _changes(plan, c)) for c in group] for group in plan.groups.values()]
    second_order = SecondOrder(model, data)
    estimates = second_order.divergences(groups)
    scanned = zip(plan.groups.items(), groups, estimates, strict=True)
    for (path, group), changes, own in scanned:
        numel, bits = sum(c.numel for c in group), group[0].bits
        show(f"{without_middle(path, 24)}", None)
        found = corrected(own, _measured(group, changes, places_to_measure(own), second_order))
        for level, divergence in zip(plan.levels, found.tolist(), strict=True):
            if add(ScanRow(path, level, numel, bits, {DIVERGENCE: divergence})):
                return


def _measured(
    group: Sequence[Scanned],
    changes: Sequence[Change],
    places: Sequence[int],
    second_order: SecondOrder,
) -> dict[int, float]:
    """The divergence that these make together, at some of the levels."""
    if not places:
        return {}
    found, divergence = {}, second_order.measuring(group)
    with contextlib.ExitStack() as stack:
        stored = [stack.enter_context(candidate.kept()) for candidate in group]
        for place in places:
            for (variable, off), own in zip(changes, stored, strict=True):
                variable.assign((own + off[place].reshape(own.shape)).astype(own.dtype))
            found[place] = divergence()
    return found


def _changes(plan: Plan, candidate: Scanned) -> np.ndarray:
    """By how much its numbers change at each level: float32 `[levels, numbers]`."""
    own, number = candidate.stored(), plan.candidates.index(candidate)
    changed = (plan.change(candidate, own, level, number) for level in plan.levels)
    return np.stack([(new - own).astype(np.float32).ravel() for new in changed])


@contextlib.contextmanager
def _progress(planned: int, verbose: int) -> Iterator[Callable[[str | None, str | None], None]]:
    """Yields a function that says what is being measured, or what came out."""
    if not verbose:
        yield lambda doing, found: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]:<16.16}"),
        TextColumn("{task.description}", markup=False),
    )
    with listening(None), Progress(*columns) as progress:  # one bar is enough
        task = progress.add_task("", total=planned, found="")

        def show(doing: str | None, found: str | None) -> None:
            if doing is not None:
                progress.update(task, description=doing)
            if found is not None:
                progress.update(task, found=found, advance=1)

        yield show


def _warn_about_equal_paths(plan: Plan) -> None:
    twice = [path for path, group in plan.groups.items() if len(group) > 1]
    if twice:
        warnings.warn(
            f"Several weights are called '{twice[0]}'; they are changed together. Give their "
            "layers names of their own to scan them one by one.",
            SmhWarning,
            stacklevel=4,
        )


def _warn_if_all_improve(result: ScanResult) -> None:
    last = result.levels[-1:]
    drops = [result.drop(row) for row in result.rows if row.level in last]
    if drops and all(math.isfinite(drop) and drop < 0 for drop in drops):
        warnings.warn(
            f"{result.metric} rises with every weight that is changed. If lower is better, pass "
            "higher_is_better=False.",
            SmhWarning,
            stacklevel=4,
        )
