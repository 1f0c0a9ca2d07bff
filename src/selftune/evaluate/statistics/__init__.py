"""Pure statistics, unrounded. No data is an error, never a zero, and never a certainty."""

from selftune.evaluate.statistics.bootstrap import bootstrap_mean, has_spread
from selftune.evaluate.statistics.clusters import clustered_mean, design_effect, standard_error
from selftune.evaluate.statistics.effects import (
    Odds,
    cohens_d,
    cohens_h,
    discordant_odds,
    paired_effect,
)
from selftune.evaluate.statistics.interval import Interval
from selftune.evaluate.statistics.margins import (
    scores_equivalent,
    scores_not_worse,
    shares_equivalent,
    shares_not_worse,
)
from selftune.evaluate.statistics.multiplicity import benjamini_hochberg, holm
from selftune.evaluate.statistics.numbers import NumberErrors, number_errors
from selftune.evaluate.statistics.paired import (
    mcnemar,
    mcnemar_mid,
    paired_difference,
    paired_shares,
    sign_flip,
)
from selftune.evaluate.statistics.power import (
    detectable_difference,
    detectable_score,
    equivalence_questions_needed,
    paired_power,
    questions_needed,
    scores_needed,
    unpaired_questions_needed,
)
from selftune.evaluate.statistics.samples import Spread, pass_all, pass_any, spread
from selftune.evaluate.statistics.shares import (
    clopper_pearson,
    clustered_share,
    difference_of_shares,
    weighted_share,
    wilson,
)

__all__ = [
    "Interval",
    "NumberErrors",
    "Odds",
    "Spread",
    "benjamini_hochberg",
    "bootstrap_mean",
    "clopper_pearson",
    "clustered_mean",
    "clustered_share",
    "cohens_d",
    "cohens_h",
    "design_effect",
    "detectable_difference",
    "detectable_score",
    "difference_of_shares",
    "discordant_odds",
    "equivalence_questions_needed",
    "has_spread",
    "holm",
    "mcnemar",
    "mcnemar_mid",
    "number_errors",
    "paired_difference",
    "paired_effect",
    "paired_power",
    "paired_shares",
    "pass_all",
    "pass_any",
    "questions_needed",
    "scores_equivalent",
    "scores_needed",
    "scores_not_worse",
    "shares_equivalent",
    "shares_not_worse",
    "sign_flip",
    "spread",
    "standard_error",
    "unpaired_questions_needed",
    "weighted_share",
    "wilson",
]
