"""New structures from a handful of labelled scans: registered into a trained model in seconds, old structures untouched."""

from segsuite.pipeline import Pipeline

PIPELINE = Pipeline(
    name="fewshot",
    summary="add a structure to a model from a few labelled scans, without retraining and without forgetting",
    paper="in the spirit of the abstract of Huang et al., ICCV 2023, arXiv:2308.04952",
)
