"""Metrics: arrays in, numbers out, in mm and ml; one rule for empty masks, in ``overlap``."""
