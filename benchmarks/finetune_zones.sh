#!/usr/bin/env bash
# How many labelled cases does it take? A zone model trained on phantoms is adapted to 1, 3 and 10 cases of another
# kind (other tissue contrasts, masks by a noisy rater), beside training on the same cases from nothing, same steps.
#
#   benchmarks/finetune_zones.sh MODEL WORK [STEPS]
set -euo pipefail
MODEL=$1 WORK=$2 STEPS=${3:-100}
SEGSUITE=${SEGSUITE:-segsuite}
mkdir -p "$WORK"

python - "$WORK" <<'PYTHON'
import sys
from pathlib import Path

from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort

work = Path(sys.argv[1])
shape = {"shape": (124, 124, 26), "spacing_mm": (1.0, 1.0, 3.0)}
for name, n_cases, seed in (("few", 10, 77), ("test", 10, 78)):
    if not (work / name / "manifest.json").is_file():
        cohort = PhantomCohort(n_cases=n_cases, n_folds=0, seed=seed, n_sites=3, rater_noise=True, randomise=0.5, **shape)
        write_phantom_cohort(work / name, cohort, workers=2)
manifest = read_manifest(work / "few" / "manifest.json")
for n in (1, 3, 10):
    part = manifest.model_copy(update={"training": manifest.training[:n], "data_root": str((work / "few").resolve())})
    write_manifest(work / f"few_{n}.json", part)
PYTHON

score() {  # model, name
    $SEGSUITE predict "$1" "$WORK/test/manifest.json" --out "$WORK/$2_masks" --force -q --set overlap=0.25
    $SEGSUITE evaluate "$WORK/$2_masks" "$WORK/test/manifest.json" --out "$WORK/$2_evaluation" -q || true
    python - "$WORK/$2_evaluation" "$2" <<'PYTHON'
import json
import sys

summary = json.load(open(sys.argv[1] + "/metrics_summary.json"))
scores = {name: entry["dice"]["mean"] for name, entry in summary["structures"].items()}
print(f"{sys.argv[2]:16s}", *(f"{name} {value:.3f}" for name, value in scores.items()), f"mean {sum(scores.values()) / 4:.3f}")
PYTHON
}

score "$MODEL" phantoms_only
for KIND in adapted scratch; do
    for N in 1 3 10; do
        RUN="$WORK/${KIND}_$N"
        EXTRA=()
        RATE=4e-3
        if [ "$KIND" = adapted ]; then EXTRA=(--finetune "$MODEL"); RATE=5e-4; fi
        $SEGSUITE train prostate_zones/sim_to_real -m "$WORK/few_$N.json" --fold none --out "$RUN" -q "${EXTRA[@]}" \
            data.phantom=null training.max_minutes=null "training.max_steps=$STEPS" training.steps_per_epoch=50 \
            training.epochs_per_validation=0 "training.learning_rate=$RATE" co_training.share=0
        score "$RUN/model" "${KIND}_$N"
    done
done
