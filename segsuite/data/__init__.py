"""From a manifest to batches: cases, splits, caches, patches, augmentation, phantoms."""
