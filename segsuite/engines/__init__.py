"""Fit, predict, evaluate; the run folder, the model folder and the ledger: where the rooms below meet."""
