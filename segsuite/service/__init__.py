"""The model behind a door of HTTP: images in, masks out."""
