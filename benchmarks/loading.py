"""Patches a second that loader processes hand over, turning them themselves or leaving that to the device that trains.

    python benchmarks/loading.py M.json DATA_ROOT [--patch 128 128 128] [--batch 2] [--workers 2] [--batches 40]

The data that training sees: every case on its own spacing, z-scored, half of the patches on a structure, rotation and scaling as
by default (a third of the patches). Prepared cases go to a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from segsuite.data.cache import prepare_cases
from segsuite.data.datasets import PatchDataset
from segsuite.data.manifest import read_manifest
from segsuite.data.spatial import SpatialAugmentation
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.allocator import keep_freed_memory
from segsuite.engines.cohort import patch_loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--patch", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    keep_freed_memory()
    manifest = read_manifest(options.manifest)
    how = Preprocessing(None, tuple(Normalisation("zscore") for _ in range(manifest.n_channels)))
    labelled = [case for case in manifest.training if case.label is not None]
    with tempfile.TemporaryDirectory() as cache:
        cases = prepare_cases(
            labelled, manifest, data_root=options.data_root, cache_dir=Path(cache), preprocessing=how, workers=options.workers
        )
        for later in (False, True):
            patches = PatchDataset(
                cases,
                patch_size=tuple(options.patch),
                spacing_mm=(1.0, 1.0, 1.0),
                seed=0,
                foreground_share=0.5,
                spatial=SpatialAugmentation(),
                turn_on_gpu=later,
            )
            loader = patch_loader(patches, batch_size=options.batch, steps_per_epoch=options.batches + 1, workers=options.workers)
            batches = iter(loader)
            next(batches)
            started = time.perf_counter()
            n = options.batch * sum(1 for _ in batches)
            where = "by the device" if later else "by the loaders"
            print(f"turned {where:14}  {n / (time.perf_counter() - started):8.1f} patches a second", flush=True)


if __name__ == "__main__":
    main()
