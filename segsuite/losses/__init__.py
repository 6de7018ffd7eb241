"""Losses: tensors in, one number out; each a pure function."""
