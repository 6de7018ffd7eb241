"""Prepared cases on disk: computed once, memory-mapped after, keyed by file content and by what was done to it.

A case is a folder of plain ``.npy`` arrays that appears by one rename, so two processes may fill the same cache and a
kill leaves nothing that looks complete.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.data.cache_quota import IMAGE_FILE, ImageOnDemand, Room, keep_within, make_image
from segsuite.data.checking import require_declared
from segsuite.data.locate import image_paths, label_path
from segsuite.data.manifest import Case, Manifest
from segsuite.data.scan_profile import profile_of
from segsuite.data.transforms import Preprocessing, prepare_image, prepare_labels, prepared_grid
from segsuite.documents import read_json
from segsuite.errors import InputError, OutputError
from segsuite.files import hash_of_file, hash_of_json, make_folder, write_json
from segsuite.seeding import keyed_generator
from segsuite.volumes.grid import Grid
from segsuite.volumes.image_files import files_of_image, hash_of_image
from segsuite.volumes.orders import upright, upright_mask
from segsuite.volumes.reading import read_channels, read_grid, read_labels
from segsuite.volumes.volume import Volume, require_varied
from segsuite.volumes.voxel_hash import voxel_hash

__all__ = ["CacheForecast", "Cleared", "PreparedCase", "as_classes", "clear_cache", "forecast_cache", "prepare_cases"]

CACHE_VERSION = 2
"""Part of every key: a change of the cache's content makes old entries unseen instead of wrong."""
FOREGROUND_SAMPLES = 2000
"""Voxels remembered per label for foreground patches."""
STALE_SECONDS = 86_400
CONTENT_FILE = "content.json"
"""Of an entry: hashes of what its case is."""


@dataclass(frozen=True)
class PreparedCase:
    """One case in the cache. Arrays are memory-mapped: reading a window touches only its pages.

    Attributes:
        case: The row of the manifest.
        folder: Its arrays.
        on_demand: Opens the image where the cache may have given it up; ``None``: the cache keeps it.
    """

    case: Case
    folder: Path
    on_demand: ImageOnDemand | None = field(default=None, kw_only=True)

    @property
    def image(self) -> NDArray[np.float32]:
        """(channels, i, j, k), normalised, on the network's grid."""
        return self._kept_image if self.on_demand is None else self.on_demand(self.folder)

    @cached_property
    def _kept_image(self) -> NDArray[np.float32]:
        return np.load(self.folder / IMAGE_FILE, mmap_mode="r")

    @cached_property
    def label(self) -> NDArray[Any] | None:
        """(i, j, k) class indices, -1 where nothing is scored; ``None`` for an unlabelled case."""
        path = self.folder / "label.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    @cached_property
    def content(self) -> dict[str, Any]:
        """Hashes of its voxels, ``image`` (however files store them) and ``label`` (prepared), and the image's ``profile``."""
        found: dict[str, Any] = read_json(self.folder / CONTENT_FILE)
        return found

    @cached_property
    def foreground(self) -> NDArray[np.int32]:
        """Rows (class, i, j, k): up to 2000 voxels per structure, drawn once."""
        return np.load(self.folder / "foreground.npy")


@dataclass(frozen=True)
class CacheForecast:
    """What filling a cache will take.

    Attributes:
        n_bytes: All of it.
        label_bytes: The part of it that labels take.
        free_bytes: That the disk has.
    """

    n_bytes: int
    label_bytes: int
    free_bytes: int


def forecast_cache(
    cases: Sequence[Case], manifest: Manifest, data_root: Path, cache_dir: Path, preprocessing: Preprocessing
) -> CacheForecast:
    """The size of the cache from the headers alone, beside the space that is free.

    Args:
        cases: The cases to prepare.
        manifest: For the number of channels.
        data_root: Where paths start.
        cache_dir: Where the cache will be.
        preprocessing: Sets the network's grid.

    Returns:
        Bytes needed and bytes free.
    """
    n_voxels = 0
    for case in cases:
        grid = prepared_grid(read_grid(image_paths(case, data_root)[0]), preprocessing)
        n_voxels += int(np.prod(grid.shape))
    free = shutil.disk_usage(make_folder(cache_dir)).free
    return CacheForecast(n_voxels * (4 * manifest.n_channels + 1), n_voxels, free)


def prepare_cases(
    cases: Sequence[Case],
    manifest: Manifest,
    *,
    data_root: Path,
    cache_dir: Path,
    preprocessing: Preprocessing,
    workers: int = 1,
    most_bytes: int | None = None,
) -> list[PreparedCase]:
    """Every case in the cache, computing what is not there yet.

    Args:
        cases: Which cases.
        manifest: Declares channels, labels and the mapping of label values.
        data_root: Where paths start.
        cache_dir: Created if needed.
        preprocessing: What is done to each image.
        workers: Threads that read and prepare.
        most_bytes: That images may take on disk; those used longest ago are given up and made again when they are needed.
            ``None``: as much as there is.

    Returns:
        The prepared cases, same order.

    Raises:
        OutputError: Not enough space for the forecast.
        InputError: A case that cannot be used; the message names it. What is prepared stays.
    """
    forecast = forecast_cache(cases, manifest, data_root, cache_dir, preprocessing)
    keys = [_key(case, manifest, data_root, cache_dir, preprocessing) for case in cases]
    missing = [key for key in keys if not (cache_dir / key / IMAGE_FILE).is_file()]
    needed = forecast.n_bytes * len(missing) / max(len(cases), 1)
    if most_bytes is not None:
        needed = min(needed, most_bytes + forecast.label_bytes)
    if needed > forecast.free_bytes:
        raise OutputError(
            f"The cache {cache_dir} must have room for {needed / 1e9:.1f} GB, got "
            f"{forecast.free_bytes / 1e9:.1f} GB free. Choose another --cache-dir, a larger spacing, or `data.cache_gb`."
        )
    _remove_stale(cache_dir)
    room = None if most_bytes is None else Room(cache_dir, most_bytes)

    def prepare(item: tuple[Case, str]) -> PreparedCase:
        case, key = item
        folder = cache_dir / key
        on_demand = None
        if most_bytes is not None:
            on_demand = ImageOnDemand(case, manifest.n_channels, data_root, preprocessing, cache_dir, most_bytes)
        if not folder.is_dir():
            _fill(folder, case, manifest, data_root, preprocessing)
            if room is not None:
                room.take(folder)
        elif room is None and not (folder / IMAGE_FILE).is_file():
            make_image(folder, case, manifest.n_channels, data_root, preprocessing)
        if not (folder / CONTENT_FILE).is_file():  # made by an earlier version
            volume = read_channels(image_paths(case, data_root), n_channels=manifest.n_channels)
            label = np.load(folder / "label.npy", mmap_mode="r") if case.label else None
            write_json(folder / CONTENT_FILE, _content(volume, label))
        os.utime(folder)  # what was used last goes last
        return PreparedCase(case, folder, on_demand=on_demand)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        prepared = list(pool.map(prepare, zip(cases, keys, strict=True)))
    if most_bytes is not None and prepared:
        keep_within(cache_dir, most_bytes, keep=prepared[-1].folder)
    return prepared


@dataclass(frozen=True)
class Cleared:
    """What clearing a cache did.

    Attributes:
        n_removed: Prepared cases that are gone.
        freed_bytes: That they took.
        n_kept: Prepared cases that are left.
        kept_bytes: That these take.
    """

    n_removed: int
    freed_bytes: int
    n_kept: int
    kept_bytes: int


def clear_cache(cache_dir: Path, *, most_bytes: int, idle_seconds: float) -> Cleared:
    """Delete prepared cases until the rest fits; those that were used last stay. Training makes what it misses again.

    Args:
        cache_dir: A cache; nothing in it but prepared cases and leftovers of killed processes is touched.
        most_bytes: That may stay.
        idle_seconds: A case that a training took up within this time is never deleted: it may be in use.

    Returns:
        What is gone and what is left.

    Raises:
        OutputError: No cache.
    """
    entries = [path for path in cache_dir.glob("*") if re.fullmatch(r"[0-9a-f]{32}", path.name) and path.is_dir()]
    if not entries and not (cache_dir / "hashes").is_dir():
        raise OutputError(
            f"{cache_dir} must be a cache of prepared cases, got a folder without any. Give RUN/cache or --cache-dir's."
        )
    _remove_stale(cache_dir)
    sized = sorted(((entry.stat().st_mtime, entry) for entry in entries), reverse=True)
    n_removed = freed = kept = 0
    for used, entry in sized:
        size = sum(part.stat().st_size for part in entry.iterdir())
        if kept + size <= most_bytes or time.time() - used < idle_seconds:
            kept += size
            continue
        shutil.rmtree(entry)
        n_removed, freed = n_removed + 1, freed + size
    return Cleared(n_removed, freed, len(sized) - n_removed, kept)


def _key(case: Case, manifest: Manifest, data_root: Path, cache_dir: Path, preprocessing: Preprocessing) -> str:
    files = [*image_paths(case, data_root), *([label_path(case, data_root)] if case.label else [])]
    content = {
        "version": CACHE_VERSION,
        "files": [_remembered_hash(path, cache_dir) for path in files],
        "preprocessing": preprocessing.to_json(),
        "labels": sorted(manifest.labels.values()),
        "ignore": manifest.ignore_label,
        "mapping": sorted(manifest.label_mapping.items()),
    }
    return hash_of_json(content)[:32]


def _remembered_hash(path: Path, cache_dir: Path) -> str:
    """Content hash, remembered under path, size and time so that an unchanged file is hashed once."""
    files = files_of_image(path)
    if files != [path]:
        return hash_of_image(path) if files else "absent"
    state = path.stat()
    memo = cache_dir / "hashes" / f"{hash_of_json([str(path.resolve()), state.st_size, state.st_mtime_ns])[:32]}.json"
    with suppress(OSError, InputError, KeyError):  # a memo that is damaged is made anew
        return str(read_json(memo)["sha256"])
    digest = hash_of_file(path)
    make_folder(memo.parent)
    write_json(memo, {"path": str(path), "sha256": digest})
    return digest


def _fill(folder: Path, case: Case, manifest: Manifest, data_root: Path, preprocessing: Preprocessing) -> None:
    volume = read_channels(image_paths(case, data_root), n_channels=manifest.n_channels)
    require_varied(volume, case=case.case_id)
    scan, _ = upright(volume)
    image, grid = prepare_image(scan, preprocessing)
    arrays: dict[str, NDArray[Any]] = {"image": image}
    if case.label is not None:
        arrays["label"] = _read_label(case, manifest, data_root, volume.grid, grid)
        arrays["foreground"] = _sample_foreground(arrays["label"], manifest)
    content = _content(volume, arrays.get("label"))
    temporary = make_folder(folder.parent / f".tmp-{uuid.uuid4().hex}")
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        write_json(temporary / CONTENT_FILE, content)
        temporary.replace(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():  # else another process was faster, and its copy is the same
            raise OutputError(f"The cache {folder} must be writable, got: {error}. Choose another --cache-dir.") from error


def _content(volume: Volume, label: NDArray[Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"image": voxel_hash(volume), "profile": profile_of(volume)}
    return found if label is None else found | {"label": hashlib.blake2b(np.ascontiguousarray(label).data).hexdigest()[:32]}


def _read_label(case: Case, manifest: Manifest, data_root: Path, image_grid: Grid, grid: Grid) -> NDArray[Any]:
    path = label_path(case, data_root)
    labels = read_labels(path, mapping=manifest.label_mapping)
    labels = upright_mask(labels, image_grid, names=(f"case {case.case_id}: {case.images[0]}", str(path)))
    require_declared(labels, manifest, case=case)
    return as_classes(prepare_labels(labels, grid), manifest)


def as_classes(labels: NDArray[Any], manifest: Manifest) -> NDArray[Any]:
    """Label integers as class indices 0 (background), 1, 2, ... in order of the integers; -1 for the ignore label.

    Args:
        labels: Declared integers.
        manifest: Declares them.

    Returns:
        Same shape, int8 where it fits, else int16.
    """
    values = [0, *manifest.structures]
    table = np.full(int(max(*values, manifest.ignore_label or 0)) + 1, -1, dtype=np.int16)
    table[values] = np.arange(len(values))
    return table[labels].astype(np.int8 if len(values) <= 127 else np.int16)


def _sample_foreground(label: NDArray[Any], manifest: Manifest) -> NDArray[np.int32]:
    rows = []
    for value in range(1, len(manifest.structures) + 1):
        voxels = np.argwhere(label == value)
        if len(voxels) > FOREGROUND_SAMPLES:
            drawn = keyed_generator(0, "foreground", value).choice(len(voxels), FOREGROUND_SAMPLES, replace=False)
            voxels = voxels[np.sort(drawn)]
        rows.append(np.column_stack([np.full(len(voxels), value), voxels]))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 4), dtype=np.int32)


def _remove_stale(cache_dir: Path) -> None:
    """Delete what killed processes left behind a day or more ago."""
    for leftover in cache_dir.glob(".tmp-*"):
        try:
            age = time.time() - leftover.stat().st_mtime
        except FileNotFoundError:
            continue  # another process removed or renamed it first
        if age > STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
