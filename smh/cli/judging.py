"""How good a model is, before a command changes it and after."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from smh.errors import ArgumentError, SmhWarning
from smh.sensitivity.words import score

if TYPE_CHECKING:
    import keras

    from smh.datasets import Dataset


_FEW = 1_000  # examples for a file, which runs them at once


def to_judge_by(data: Dataset) -> tuple[Any, Any, str]:
    """Examples and labels that nothing is trained on, and which part of the data they are.

    These are the validation examples; where there are none the test examples, with a warning.
    """
    if data.x_validation is data.x_train:
        return data.x_train, data.y_train, "given"  # nobody made parts
    if data.x_validation is not None and data.y_validation is not None:
        return data.x_validation, data.y_validation, "validation"
    warnings.warn(
        "There are no validation examples; the test ones it is.", SmhWarning, stacklevel=2
    )
    return data.x_test, data.y_test, "test"


class Judge:
    """Prints how good a model is, each time it is called.

    It is silent where there are no labels, or none that say how good these outputs are.
    """

    def __init__(self, data: Dataset | None, quiet: bool = False):
        self._part = None
        if data is not None and data.y_train is not None and not quiet:
            self._part = to_judge_by(data)

    def __call__(self, model: keras.Model, when: str) -> None:
        """Measures, and prints a line that begins with `when`."""
        if self._part is None:
            return
        from smh.training.data import measure

        x, y, part = self._part
        try:
            figures = measure(model, x, y)
        except ArgumentError:  # of a model that returns something else than labels
            self._part = None
            return
        self._say(when, figures, x, part)

    def of_file(self, model: keras.Model, path: str, format: str, when: str) -> None:
        """Measures what a file for another runtime answers to the first of these examples."""
        if self._part is None:
            return
        from smh.datasets.dataset import as_arrays, map_arrays, scaled
        from smh.exporting.running import answers
        from smh.training.data import measure_outputs

        x, y, part = self._part
        x, y = (map_arrays(lambda array: array[:_FEW], one) for one in (x, as_arrays(y)))
        found = answers(model, path, format, scaled(x))
        if found:
            self._say(
                when, measure_outputs(model, found if len(found) > 1 else found[0], y), x, part
            )

    def _say(self, when: str, figures: Mapping[str, float], x: Any, part: str) -> None:
        from smh.datasets.dataset import count_of

        words = [f"{name} {score(name, value)}" for name, value in figures.items()]
        print("  ".join([f"{when}:", *words, f"on {count_of(x):,} {part} examples"]))
