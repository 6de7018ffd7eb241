#!/usr/bin/env bash
# Decathlon hippocampus: segsuite and nnU-Net v2, the same fold, minutes and cores, one after the other; prints both tables.
#   benchmarks/hippocampus.sh DATA_FOLDER WORK_FOLDER [MINUTES] [PYTHON_WITH_NNUNETV2]
# DATA_FOLDER holds dataset.json, imagesTr, labelsTr. Leave the last out to measure segsuite alone.
set -euo pipefail
data=$(realpath "$1"); work=$2; minutes=${3:-20}; peer_python=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"; cd "$work"

if [ ! -f M.json ]; then  # run again, it goes on: a manifest with folds is not imported anew
  segsuite manifest import "$data" --out imported.json -q
  segsuite manifest check imported.json -q
  segsuite manifest split imported.json --folds 5 --seed 0 --out M.json -q
fi
segsuite train supervised/hippocampus --manifest M.json --fold 0 --out run "training.max_minutes=$minutes"
segsuite predict run M.json --fold 0 --out run/predictions
segsuite evaluate run/predictions M.json --fold 0 --out run/evaluation

if [ -n "$peer_python" ]; then
  "$peer_python" "$here/nnunet_peer.py" M.json "$data" --fold 0 --minutes "$minutes" --out peer > peer.log 2>&1
  segsuite evaluate peer/predictions M.json --fold 0 --out peer/evaluation
fi

python - run/evaluation peer/evaluation <<'PY'
import json, pathlib, sys
for folder in map(pathlib.Path, sys.argv[1:]):
    if (folder / "metrics_summary.json").is_file():
        summary = json.loads((folder / "metrics_summary.json").read_text())
        parts = [f"{name} {e['dice']['mean']:.4f} ({e['dice']['low']:.4f} to {e['dice']['high']:.4f})" for name, e in summary["structures"].items()]
        print(f"{folder.parent}: mean Dice {summary['mean']['dice']:.4f}; " + "; ".join(parts) + f"; HD95 {summary['mean']['hd95']:.2f} mm")
PY
