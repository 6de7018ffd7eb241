"""Phantoms: volumes with known truth, made by seed, for trying, testing and training without a data set."""
