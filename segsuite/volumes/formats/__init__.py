"""One module per file format: each parses its header itself, checks lengths and checksums, and hands out raw voxels."""
