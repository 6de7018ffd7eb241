"""A cache that holds less than all prepared images: what was used longest ago goes, and is prepared again when it is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from segsuite.data.locate import image_paths
from segsuite.data.manifest import Case
from segsuite.data.transforms import Preprocessing, prepare_image
from segsuite.errors import OutputError
from segsuite.files import write_atomically
from segsuite.volumes.reading import read_channels

__all__ = ["IMAGE_FILE", "ImageOnDemand", "Room", "keep_within", "make_image"]

IMAGE_FILE = "image.npy"
KEPT_SHARE = 0.9
"""Of the limit, down to which a cache that is being filled is emptied at once, so that it is not searched for every case."""
ATTEMPTS = 8
"""Other processes may give an image up before it is opened."""


@dataclass(frozen=True)
class ImageOnDemand:
    """Opens the image of a prepared case; makes it first where the cache gave it up.

    Attributes:
        case: Its files.
        n_channels: That they must hold.
        data_root: Where paths start.
        preprocessing: What is done to the image.
        cache_dir: The cache.
        most_bytes: That its images may take together.
    """

    case: Case
    n_channels: int
    data_root: Path
    preprocessing: Preprocessing
    cache_dir: Path
    most_bytes: int

    def __call__(self, folder: Path) -> NDArray[np.float32]:
        """The memory-mapped image.

        Args:
            folder: Of the prepared case.

        Returns:
            (channels, i, j, k), normalised.

        Raises:
            OutputError: Other processes give it up as fast as it is made.
        """
        path = folder / IMAGE_FILE
        for _ in range(ATTEMPTS):
            try:
                opened: NDArray[np.float32] = np.load(path, mmap_mode="r")
                os.utime(path)  # what was used last goes last
            except FileNotFoundError:
                make_image(folder, self.case, self.n_channels, self.data_root, self.preprocessing)
                keep_within(self.cache_dir, self.most_bytes, keep=folder)
            else:
                return opened
        raise OutputError(
            f"The cache {self.cache_dir} must have room for the images in use, got {self.most_bytes / 1e9:.2f} GB. "
            "Raise `data.cache_gb`."
        )


def make_image(folder: Path, case: Case, n_channels: int, data_root: Path, preprocessing: Preprocessing) -> None:
    """Prepare the image of a case again, into its folder in the cache.

    Args:
        folder: Of the prepared case.
        case: Its files.
        n_channels: That they must hold.
        data_root: Where paths start.
        preprocessing: What is done to it.
    """
    image, _ = prepare_image(read_channels(image_paths(case, data_root), n_channels=n_channels), preprocessing)
    write_atomically(folder / IMAGE_FILE, partial(_save, image))


class Room:
    """What may still be written into a cache that is being filled, by several threads."""

    def __init__(self, cache_dir: Path, most_bytes: int) -> None:
        """Set up; the cache is searched when the first image is written.

        Args:
            cache_dir: The cache.
            most_bytes: That its images may take together.
        """
        self.cache_dir, self.most_bytes, self.left, self.lock = cache_dir, most_bytes, 0, Lock()

    def take(self, folder: Path) -> None:
        """Count an image that was written; where the room is used up, those used longest ago go.

        Args:
            folder: Of the prepared case.
        """
        with self.lock:
            self.left -= (folder / IMAGE_FILE).stat().st_size
            if self.left < 0:
                kept = keep_within(self.cache_dir, int(KEPT_SHARE * self.most_bytes), keep=folder)
                self.left = self.most_bytes - kept


def keep_within(cache_dir: Path, most_bytes: int, *, keep: Path) -> int:
    """Delete images until the rest fits; those used last stay, and so do labels.

    Args:
        cache_dir: The cache.
        most_bytes: Of all images together.
        keep: Folder of a case whose image stays.

    Returns:
        Bytes of the images that are left.
    """
    found = []
    for path in cache_dir.glob(f"*/{IMAGE_FILE}"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue  # another process was faster
        found.append((state.st_mtime_ns, state.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most_bytes:
            break
        if path.parent != keep:
            path.unlink(missing_ok=True)
            total -= size
    return total


def _save(image: NDArray[np.float32], path: Path) -> None:
    np.save(path, image)
