"""What the name of a metric says: whether more of it is better, and how people read its numbers.

People read shares, as accuracy, in percent, and what is lost of them in points; a page, a picture
and a printed table show them so. Results and files keep the numbers as they were measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Whole words, of which those of Keras' names, as `sparse_categorical_crossentropy`, are several;
# before them the part of the data may stand, behind them a number: `valacc`, `acc1`, `loss1`.
_WORD = r"(?:val|valid|test|train|eval|dev)?(?:{})\d*"
_SHARES = (
    r"acc|(?!inaccuracy)\w*accurac(?:y|ies)|prec|precision|recall|sensitivity|specificity|m?iou"
    r"|dice|jaccard|top|f\d|f\d?score|hits?"
)
_HIGHER = re.compile(
    _WORD.format(
        rf"{_SHARES}|(?:roc|pr)?auc|auroc|\w*similarity|ssim|psnr|[dr]2|r2score|bleu|rouge|ndcg"
        r"|kappa|likelihood|reward|true|m?ap|mrr|mcc|tpr|tnr|ppv|npv|scores?"
    )
)
# Of whatever stands before them.
_AMOUNTS = (
    r"\w*loss(?:es)?|err|\w*errors?|drop|inaccuracy|distance|\w*divergence|regret|deviance|hinge"
)
_LOWER = re.compile(
    _WORD.format(
        rf"{_AMOUNTS}|r?mse|mae|mape|r?msle|\w*entropy|perplexity|poisson"
        r"|\w*cosh|false|miss|misses|brier|latency|nll|[cwte]er|fpr|fnr"
        r"|kld?|fid|ece|b?ce|cce|ppl|cost"
    )
)
_NEGATED = ("neg", "negative", "negated", "minus")
# Behind these stands under which condition, as in `recall_at_distance`, and not what is measured.
_CONDITIONS = "at by for from given over per under versus vs with within without".split()


def _words(name: str) -> list[str]:
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    text = (
        text.replace("io_u", "iou").replace("brier_score", "brier").replace("f_measure", "fscore")
    )
    words = re.findall(r"[a-z0-9]+", text.replace("@", " at "))
    return words[: next((i for i, w in enumerate(words) if i and w in _CONDITIONS), len(words))]


def better_when_higher(name: str) -> bool | None:
    """Whether more of a metric is better, by the words of its name, or `None`.

    Where they differ, only a loss, an error or the like at the end decides: `dice_loss` and
    `top_5_error` are better when lower. `neg_loss` is better when higher; `negative_recall` is
    that of a class.
    """
    words = _words(name)
    said = [i for i, word in enumerate(words) if _HIGHER.fullmatch(word) or _LOWER.fullmatch(word)]
    if not said or "free" in words or words[-1] in _NEGATED:
        return None
    ways = {_HIGHER.fullmatch(words[i]) is not None for i in said}
    if len(ways) > 1 and not re.fullmatch(_WORD.format(_AMOUNTS), words[-1]):
        return None
    last, before = words[said[-1]], [word for word in words[: said[-1]] if word != "log"]
    higher = _HIGHER.fullmatch(last) is not None
    is_negated = bool(before) and (before[0] == "neg" or before[-1] in _NEGATED)
    if higher and last != "likelihood":
        return None if before and before[-1] == "minus" else True
    return higher != is_negated


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
        is_share = named is True and any(
            re.fullmatch(_WORD.format(_SHARES), word) for word in _words(metric)
        )
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
