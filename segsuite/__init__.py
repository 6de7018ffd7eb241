"""segsuite: train, predict and evaluate segmentations of NIfTI volumes."""

__version__ = "0.1.0"

__all__ = ["__version__"]
