"""What the name of a metric says: whether more of it is better, and how people read its numbers.

People read shares, as accuracy, in percent, and what is lost of them in points; a page, a picture
and a printed table show them so. Results and files keep the numbers as they were measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

_SHARES = (
    r"acc|precision|recall|sensitivity|specificity|io_?u|dice|jaccard|top_?\d|(?<![a-z])(?:f\d|hit)"
)
_SAYS = {
    True: re.compile(
        rf"{_SHARES}|auc|similarity|ssim|psnr|r2|bleu|rouge|ndcg|kappa|likelihood|reward|true_"
        r"|(?<![a-z])(?:map|mrr|mcc|tpr|tnr|ppv|npv)(?![a-z])"
    ),
    False: re.compile(
        r"loss|err|mse|mae|mape|msle|entropy|perplexity|diverg|distance|hinge|poisson|cosh|false_"
        r"|miss|regret|brier|latency"
        r"|(?<![a-z])(?:nll|cer|wer|ter|eer|fpr|fnr|kld?|fid|ece|b?ce|cce|ppl|cost)(?![a-z])"
    ),
}
_NEGATED = re.compile(r"(?:neg|negative|negated|minus)_")


def better_when_higher(name: str) -> bool | None:
    """Whether more of a metric is better, by the last word of its name that says so, or `None`.

    So that `dice_loss` and `top_5_error` are better when lower, and `neg_loss` when higher.
    """
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    found = [(m.end(), higher) for higher, words in _SAYS.items() for m in words.finditer(text)]
    if not found and "score" not in text:
        return None
    last = max(found)[1] if found else True
    return last != bool(_NEGATED.match(text))


@dataclass(frozen=True)
class Shown:
    """How the numbers of one metric are shown.

    Attributes:
        metric: its name.
        higher_is_better: in which direction.
        is_share: whether it is a share of all, which is shown in percent.
    """

    metric: str
    higher_is_better: bool
    is_share: bool

    @classmethod
    def of(
        cls, metric: str, values: Iterable[float], higher_is_better: bool | None = None
    ) -> Shown:
        """Decides by the name, and by whether the values, as far as they are numbers, are shares.

        Args:
            metric: its name.
            values: what was measured.
            higher_is_better: in which direction, if that is known.
        """
        named = better_when_higher(metric)
        is_share = named is True and re.search(_SHARES, metric.lower()) is not None
        is_share &= all(0 <= value <= 1 for value in values if math.isfinite(value))
        higher = named is not False if higher_is_better is None else higher_is_better
        return cls(metric, higher, is_share)

    @property
    def unit(self) -> int:
        """What a number is multiplied by before it is shown."""
        return 100 if self.is_share else 1

    @property
    def label(self) -> str:
        """The heading of numbers: `accuracy (%)`, `loss`."""
        return f"{self.metric} (%)" if self.is_share else self.metric

    @property
    def worse(self) -> str:
        """The word for getting worse."""
        return "drop" if self.higher_is_better else "rise"

    @property
    def lost(self) -> str:
        """The heading of what was lost: `drop of accuracy (points)`, `rise of loss`."""
        return f"{self.worse} of {self.metric}{' (points)' if self.is_share else ''}"

    def score(self, value: float) -> str:
        """A number with its unit: `98.44%`, `0.0512`."""
        return f"{value:.2%}" if self.is_share else f"{value:.4f}"

    def in_words(self, drop: float) -> str:
        """What was lost, in words: `a drop of 1.00 points`, `a rise of 0.0512`."""
        return f"a {self.worse} of {self.amount(drop)}"

    def amount(self, drop: float) -> str:
        """What was lost, with its unit: `1.00 points`, `0.0512`."""
        return f"{self.points(drop)} points" if self.is_share else self.points(drop)

    def points(self, drop: float) -> str:
        """What was lost, for a table: `1.00` points, `0.0512`."""
        text = f"{100 * drop:.2f}" if self.is_share else f"{drop:.4f}"
        return text if float(text) else text.removeprefix("-")

    def cell(self, value: float) -> str:
        """A number for a table that has many: `98.4`, `0.051`."""
        if self.is_share:
            return f"{100 * value:.1f}"
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def score(metric: str, value: float) -> str:
    """One number of a metric with its unit."""
    return Shown.of(metric, [value]).score(value)
