"""How long a manifest of many rows takes to open, to split by patient, and to be handed to a prediction in parts.

    python benchmarks/manifest.py [--rows 100000]

The files that it names do not exist: nothing here may look at them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.engines.inputs import find_inputs, take_shard

PARTS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    rows = [
        Case(image=f"images/{n}.nii.gz", label=f"labels/{n}.nii.gz", case_id=str(n), patient_id=f"p{n // 2}", fold=n % 5)
        for n in range(options.rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        write_manifest(path, Manifest(name="large", labels={"background": 0, "a": 1}, training=rows))
        del rows
        began = time.perf_counter()
        manifest = read_manifest(path)
        opened = time.perf_counter() - began
        training, held_out = manifest.split(0)
        began = time.perf_counter()
        part = take_shard(find_inputs([path], n_channels=1), (1, PARTS))
        handed = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{options.rows} rows ({len(training)} to train on, {len(held_out)} held out): opened in {opened:.1f} s")
    print(f"part 1 of {PARTS} for prediction, {len(part)} cases: {handed:.1f} s; peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
