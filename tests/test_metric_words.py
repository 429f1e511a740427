"""What the name of a metric says, and how its numbers are shown: one law over a table of each."""

import itertools

import pytest

from smh.errors import ArgumentError
from smh.sensitivity.words import Shown, better_when_higher, score
from smh.shrinking.request import check_is_score

pytestmark = pytest.mark.backend_agnostic

HIGHER = """accuracy acc val_accuracy balanced_accuracy auc precision recall f1_score
R2Score acc1 acc5 valacc testacc val_accuracies f1score fscore f_score f_measure F1 r2score
rocauc prauc iou50 bleu4 rouge1 prec1 recall@5 TPR@FPR recall_vs_fpr iou_with_distance
score_with_low_latency score_without_misses accuracy_over_cost accuracy_under_latency
mean_io_u MeanIoU dice cosine_similarity top_5 top1 bleu psnr ssim mcc kappa map map50 tpr
true_positives specificity reward score neg_loss neg_mean_squared_error val_neg_loss
my_negative_loss one_minus_error negative_recall neg_precision submission_score
transmission_score preferred_score recall_at_distance precision_at_recall
sensitivity_at_specificity f1 mean_ap""".split()
LOWER = """loss val_loss dice_loss auc_loss accuracy_loss ValLoss iou_error top_5_error
error_rate mse rmse mae mape nll cer wer brier brier_score kl kl_divergence fid ece
miss_rate fpr false_positives false_negatives perplexity sparse_categorical_crossentropy
hinge poisson log_cosh loss1 loss2 err1 err5 valerr mse1 jaccard_distance f_divergence
accuracy_drop inaccuracy number_of_errors errors_per_image false_negative_rate
loss_given_accuracy regret negative_log_likelihood root_mean_squared_error log_loss
KLDivergence false_acceptance_rate
fpr_at_95_tpr huber_loss mean_absolute_percentage_error""".split()
NEITHER = """metric value_0 macro val lambda mean architecture transmission accepted
error_free_rate f loss_negated test_mse_negative one_minus_accuracy loss_of_accuracy
cost_accuracy loss_accuracy accuracy_loss_free brier_skill_score d2_absolute_error_score""".split()
NAMES = {**dict.fromkeys(HIGHER, True), **dict.fromkeys(LOWER, False), **dict.fromkeys(NEITHER)}


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_a_name_say_which_way_is_better(name):
    assert better_when_higher(name) is NAMES[name]


# name, value, drop: the score, the drop in words, the headings of both
SHOWN = [
    ("accuracy", 0.9844, 0.01, "98.44%", "a drop of 1.00 points", "drop of accuracy (points)"),
    ("c_accuracy", 0.5, -0.005, "50.00%", "a drop of -0.50 points", "drop of c_accuracy (points)"),
    ("top_5", 1.0, 0.0, "100.00%", "a drop of 0.00 points", "drop of top_5 (points)"),
    ("accuracy", 98.44, 1.0, "98.4400", "a drop of 1.0000", "drop of accuracy"),  # percent already
    ("auc", 0.75, 0.25, "0.7500", "a drop of 0.2500", "drop of auc"),
    ("loss", 0.05, 0.4998, "0.0500", "a rise of 0.4998", "rise of loss"),
    ("top_5_error", 0.05, -1e-9, "0.0500", "a rise of 0.0000", "rise of top_5_error"),
    ("metric", 0.5, 0.1, "0.5000", "a drop of 0.1000", "drop of metric"),
]


@pytest.mark.parametrize("name, value, drop, number, words, heading", SHOWN)
def test_shares_are_shown_in_percent_and_points(name, value, drop, number, words, heading):
    shown = Shown.of(name, [value, float("nan")])
    assert (shown.score(value), shown.in_words(drop), shown.lost) == (number, words, heading)
    assert score(name, value) == number and ("%" in shown.label) == ("%" in number)


# The scores of what is smaller and smaller, that of the unchanged model, what it may lose.
SCORES = {
    "loss": ([0.014, 0.2, 1.0, 1.9], 0.013, 0.05),
    "loss from the first": ([1.9, 1.9, 1.8], 0.013, 0.05),
}
NO_LOSSES = {
    "accuracy": ([0.98, 0.975, 0.97], 0.98, 0.01),
    "accuracy by chance": ([0.90, 0.92, 0.93], 0.9, 0.01),
    "negative of a loss": ([-0.014, -0.04, -0.06], -0.013, 0.05),
    "negative of a loss that gets better": ([-2.0, -1.0, -0.7], -2.7, 0.05),
    "no drop allowed": ([0.99, 1.0, 1.0], 0.98, 0.0),
    "few": ([5.0, 6.0], 0.1, 0.05),
    "no number": ([float("nan")] * 3, 0.1, 0.05),
}


@pytest.mark.parametrize("name", [*SCORES, *NO_LOSSES])
def test_a_score_that_rises_as_a_model_gets_smaller_is_a_loss(name):
    scores, baseline, drop = (SCORES | NO_LOSSES)[name]
    for unit in (1, 10):
        given = [unit * one for one in scores], unit * baseline, unit * drop
        if name in NO_LOSSES:
            check_is_score(*given)
        else:
            with pytest.raises(ArgumentError, match="rises .* return its negative"):
                check_is_score(*given)


def test_headings_tell_all_kinds_apart():
    kinds = itertools.product(["accuracy", "loss"], [[0.5], [50.0]])
    assert len({Shown.of(*kind).lost for kind in kinds}) == 3  # a loss is shown as it is
