"""What a finished `segsuite demo cohort_contrast` found, and whether its maps point at the lesions.

    python benchmarks/cohort_demo.py RUN

Prints the facts of the model card and the share of diseased held-out scans whose highest hundredth of the map touches the lesion.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from segsuite.data.locate import label_path
from segsuite.data.manifest import read_manifest
from segsuite.volumes.reading import read_labels, read_volume

TOP = 0.99


def main() -> None:
    run = Path(sys.argv[1])
    print(json.dumps(json.loads((run / "model" / "model.json").read_text())["facts"], indent=1))
    hits = []
    for case in read_manifest(run / "cohort" / "manifest.json").training:
        maps = sorted((run / "predictions").rglob(f"{case.case_id}_map_saliency*"))
        lesion = read_labels(label_path(case, run / "cohort")).labels > 0
        if maps and lesion.any():
            saliency = read_volume(maps[0]).array[0]
            hits.append(bool((lesion & (saliency >= np.quantile(saliency, TOP))).any()))
    print(f"the highest hundredth of the map touches the lesion in {sum(hits)} of {len(hits)} diseased scans")


if __name__ == "__main__":
    main()
