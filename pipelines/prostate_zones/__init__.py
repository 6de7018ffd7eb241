"""The four PI-RADS v2 zones of a T2w prostate MRI by a dual-path, multi-task, co-trained network, on any axial series."""

from segsuite.pipeline import Pipeline

PIPELINE = Pipeline(
    name="prostate_zones",
    summary="four PI-RADS v2 zones of a T2w prostate MRI, with uncertainty and a report per case",
    paper="inspired by the abstract of Das, Ghosh and Stober 2023, arXiv:2309.12970; baseline: Meyer et al., ISBI 2019",
    is_demo=True,
)
