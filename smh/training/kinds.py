"""What labels are: classes, yes or no, or numbers; and how good outputs are by them. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smh.errors import ArgumentError

_EXPECTED = (
    "Expected classes (whole numbers from 0 on, below the last size of the output), or numbers of "
    "the output's shape."
)


@dataclass(frozen=True)
class Kind:
    """What one output tells of an example.

    Attributes:
        what: `classes` `[b, ..., k]` for labels `[b, ...]`; `pair`: two classes by one number;
            `labels`: yes or no, each for itself; `numbers`.
        logits: whether it is any number and not a probability.
    """

    what: str
    logits: bool = True

    @property
    def in_words(self) -> str:
        """What is measured, for a user."""
        if self.what == "numbers":
            return "mean square error"
        of = {"classes": "of classes", "pair": "of two classes", "labels": "of each label"}
        return f"cross-entropy {of[self.what]}, {'logits' if self.logits else 'probabilities'}"


def kind_of(name: str, output: np.ndarray, y: np.ndarray) -> Kind:
    """Decides what an output tells.

    Args:
        name: of the output.
        output: what the model returned for some examples, `[b, ...]`.
        y: the labels of all, `[n, ...]`.

    Raises:
        ArgumentError: the two do not go together.
    """
    if y.dtype.kind not in "biufV":  # V: bfloat16, which NumPy by itself has not
        raise ArgumentError(f"The labels of the output {name} are {form_of(y)}. {_EXPECTED}")
    shape, wanted = output.shape[1:], y.shape[1:]
    whole = y.dtype.kind in "iub" and y.min() >= 0
    if whole and shape[:-1] == wanted and len(shape) == len(wanted) + 1:
        if shape[-1] == 1 and y.max() <= 1:
            return Kind("pair", not _are_shares(output))
        if y.max() < shape[-1] > 1:
            return Kind("classes", not _are_probabilities(output))
    if shape == wanted and len(shape) and np.isin(y, (0, 1)).all():
        return Kind("labels", not _are_shares(output))
    if np.prod(shape) == np.prod(wanted):
        return Kind("numbers")
    raise ArgumentError(
        f"The output {name} has shape {(None, *shape)}, and its labels {(None, *wanted)}"
        + (f" with classes up to {y.max()}" if whole else f": {form_of(y)}")
        + f". {_EXPECTED}"
    )


def form_of(y: np.ndarray) -> str:
    """What labels are that are no classes, for a user."""
    if y.dtype.kind in "OSTU":
        some = ", ".join(repr(one) for one in y.reshape(-1)[:2].tolist())
        return f"text ({some}); np.unique(y, return_inverse=True)[1] numbers them"
    negative = f", some below 0 ({y.min()})" if y.dtype.kind == "i" and y.min() < 0 else ""
    return f"{y.dtype} {y.shape}{negative}"


def figures_of(kind: Kind, output: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How good an output is: `loss`, and `accuracy` or `mae` (mean absolute error)."""
    if kind.what == "numbers":
        error = output.reshape(y.shape) - y
        return {"loss": float(np.mean(error**2)), "mae": float(np.abs(error).mean())}
    return (_of_classes if kind.what == "classes" else _of_yes_or_no)(kind, output, y)


def _of_classes(kind: Kind, output: np.ndarray, y: np.ndarray) -> dict[str, float]:
    output, y = output.reshape(-1, output.shape[-1]), y.reshape(-1)
    own = output[np.arange(len(y)), y]
    if kind.logits:
        top = output.max(axis=1)
        losses = top + np.log(np.exp(output - top[:, None]).sum(axis=1)) - own
    else:
        losses = -np.log(np.maximum(own, 1e-12))
    return _pair(output.argmax(axis=1) == y, losses)


def _of_yes_or_no(kind: Kind, output: np.ndarray, y: np.ndarray) -> dict[str, float]:
    output, yes = output.reshape(y.shape), y > 0
    if kind.logits:
        losses = np.logaddexp(0.0, np.where(yes, -output, output))
    else:
        losses = -np.log(np.maximum(np.where(yes, output, 1 - output), 1e-12))
    return _pair((output > (0.0 if kind.logits else 0.5)) == yes, losses)


def _pair(right: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}


def _are_shares(output: np.ndarray) -> bool:
    return bool(output.min() >= 0 and output.max() <= 1)


def _are_probabilities(output: np.ndarray) -> bool:
    return bool(output.min() >= 0 and np.allclose(output.sum(axis=-1), 1, atol=1e-3))
