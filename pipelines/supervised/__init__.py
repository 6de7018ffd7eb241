"""A plain, strong U-Net planned from the data: the baseline that every other pipeline is measured against."""

from segsuite.pipeline import Pipeline

PIPELINE = Pipeline(
    name="supervised",
    summary="a U-Net planned from your data, for any ordinary label set",
    paper="Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z (the recipe it follows)",
)
