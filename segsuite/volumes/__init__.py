"""One image: read, write, grid, crop, components."""
