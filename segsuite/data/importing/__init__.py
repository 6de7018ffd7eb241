"""Manifests made of what people have, one module per layout."""
