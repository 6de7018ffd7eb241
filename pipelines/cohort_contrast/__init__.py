"""What a diseased cohort has that a healthy one has not, apart from what both share: scores, maps, an audit."""

from segsuite.pipeline import Pipeline

PIPELINE = Pipeline(
    name="cohort_contrast",
    word="cohort",
    summary="what separates a diseased cohort from a healthy one: a score and a map per subject, and an audit",
    paper="Louiset et al., ICLR 2024, arXiv:2402.11928",
)
