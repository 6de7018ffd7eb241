"""segsuite: train, predict and evaluate segmentations of NIfTI volumes."""

from segsuite.unnamed_user import name_the_user

__version__ = "0.1.0"

__all__ = ["__version__"]

name_the_user()
