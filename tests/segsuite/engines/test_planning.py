from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.fingerprint import Fingerprint
from segsuite.data.manifest import read_manifest
from segsuite.engines.cohort import Cohort
from segsuite.engines.planning import Plan, make_plan, plan_once
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError
from segsuite.networks.unet import least_multiple

VALUES = {"mean": 100.0, "std": 30.0, "low": 20.0, "high": 250.0}


def fingerprint(shape: tuple[int, ...], spacing: tuple[float, ...], **more: object) -> Fingerprint:
    base = Fingerprint(
        n_cases=20, n_looked_at=20, shapes=[list(shape)] * 20, spacings_mm=[list(spacing)] * 20, intensities=[VALUES],
        case_scale_spread=[50.0], zero_share=0.0, least_intensity=[0.0], label_ml={"x": 5.0}, label_share={"x": 1.0},
    )  # fmt: skip
    return replace(base, **more)


HIPPOCAMPUS = fingerprint((36, 50, 35), (1.0, 1.0, 1.0))
PROSTATE = fingerprint((320, 320, 20), (0.6, 0.6, 3.6))
CT = fingerprint((512, 512, 300), (0.8, 0.8, 1.5), least_intensity=[-1024.0], case_scale_spread=[1.2])


def test_small_cases_get_the_stages_of_nnunet_and_a_patch_without_padding() -> None:
    """nnU-Net pads 36 x 50 x 35 up to 40 x 56 x 40; the same strides allow 32 x 48 x 32, half the voxels."""
    plan = make_plan(HIPPOCAMPUS, on_gpu=False)
    assert plan.patch_size == (32, 48, 32)
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert plan.normalisation[0].scheme == "zscore"


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("data", [HIPPOCAMPUS, PROSTATE, CT], ids=["hippocampus", "prostate", "ct"])
def test_every_plan_is_consistent_and_reasoned(data: Fingerprint, on_gpu: bool) -> None:
    plan = make_plan(data, on_gpu=on_gpu)
    multiple = least_multiple(plan.strides)
    assert all(p % m == 0 for p, m in zip(plan.patch_size, multiple, strict=True))
    assert len(plan.kernels) == len(plan.strides) == len(plan.channels)
    assert np.prod(plan.patch_size) <= (2.6e6 if on_gpu else 1.4e5)
    assert plan.batch_size >= 2
    assert all(reason for reason in plan.reasons.values())


def test_through_plane_axis_is_pooled_later_and_convolved_later() -> None:
    plan = make_plan(PROSTATE, on_gpu=True)
    assert plan.kernels[0] == (3, 3, 1)
    assert plan.kernels[-1] == (3, 3, 3)
    assert plan.strides[1] == (2, 2, 1)


def test_coarse_axis_takes_its_tenth_percentile() -> None:
    spacings = [[0.6, 0.6, mm] for mm in np.linspace(3.0, 5.0, 21)]
    plan = make_plan(replace(PROSTATE, spacings_mm=spacings), on_gpu=True)
    assert plan.spacing_mm[2] == pytest.approx(3.2)


def test_ct_is_scaled_by_its_data_set_and_mr_by_its_case() -> None:
    assert make_plan(CT, on_gpu=True).normalisation[0].scheme == "window"
    assert make_plan(PROSTATE, on_gpu=True).normalisation[0].scheme == "zscore"
    stripped = replace(HIPPOCAMPUS, zero_share=0.6)
    assert make_plan(stripped, on_gpu=True).normalisation[0].scheme == "zscore_nonzero"
    given = make_plan(CT, on_gpu=True, normalisation="robust")
    assert (given.normalisation[0].scheme, given.reasons["normalisation_0"]) == ("robust", "given in the settings")


def test_large_cases_are_coarsened_until_a_patch_sees_enough() -> None:
    plan = make_plan(CT, on_gpu=False)
    shape = np.asarray(CT.median_shape) * CT.median_spacing_mm / np.asarray(plan.spacing_mm)
    assert np.prod(plan.patch_size) * 12 > np.prod(shape)
    assert "an eighth" in plan.reasons["spacing_mm"]


def test_single_slices_are_two_dimensional() -> None:
    plan = make_plan(fingerprint((256, 256, 1), (1.0, 1.0, 5.0)), on_gpu=False)
    assert (plan.dimensions, plan.patch_size[2]) == (2, 1)


def test_what_is_given_is_kept() -> None:
    plan = make_plan(PROSTATE, on_gpu=False, spacing_mm=(1.0, 1.0, 3.0), patch_size=(60, 60, 17), batch_size=5, base_channels=8)
    assert (plan.spacing_mm, plan.batch_size, plan.channels[0]) == ((1.0, 1.0, 3.0), 5, 8)
    assert all(p >= given for p, given in zip(plan.patch_size, (60, 60, 17), strict=True))


def test_sides_are_not_swapped_where_labels_name_them() -> None:
    assert make_plan(PROSTATE, on_gpu=False).mirror_axes == (0,)
    kidneys = replace(PROSTATE, label_ml={"liver": 900.0, "left_kidney": 150.0})
    plan = make_plan(kidneys, on_gpu=False)
    assert plan.mirror_axes == ()
    assert "left_kidney" in plan.reasons["mirror_axes"]
    assert make_plan(kidneys, on_gpu=False, mirror_axes=(0, 1)).mirror_axes == (0, 1)


def test_unnamed_kidneys_are_not_swapped_either() -> None:
    labels = {"label_2": 150.0, "label_3": 160.0, "label_1": 900.0}
    plan = make_plan(replace(PROSTATE, label_ml=labels, mirrored=[["label_2", "label_3"]]), on_gpu=False)
    assert plan.mirror_axes == ()
    assert "none: `label_2` and `label_3` mirror each other in most cases" in plan.reasons["mirror_axes"]
    assert plan.sided == ("label_2", "label_3")
    assert make_plan(PROSTATE, on_gpu=False).sided == ()
    assert Plan.from_json(plan.to_json()) == plan


def test_json_round_trip() -> None:
    plan = make_plan(CT, on_gpu=True)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_training_does_not_go_on_with_other_regions(cohort_folder: Path, tmp_path: Path) -> None:
    """Its network would have outputs that mean something else, or another number of them."""
    regions = {"regions": {"gland": [1, 2, 3, 4], "stroma": [4]}, "regions_class_order": [1, 4]}
    manifest = read_manifest(cohort_folder / "manifest.json")
    run = RunFolder(tmp_path)
    cases = manifest.training[:2]
    plain = Cohort(manifest, cohort_folder, None, cases, [], tmp_path, 0)
    with_regions = replace(plain, manifest=manifest.model_copy(update=regions))
    plan = plan_once(run, with_regions, on_gpu=False, overrides={}, tell=lambda *_, **__: None)
    assert plan_once(run, with_regions, on_gpu=False, overrides={}, tell=lambda *_, **__: None) == plan
    with pytest.raises(ManifestError, match="must go on with the regions that it began with, .*gland.* got single labels"):
        plan_once(run, plain, on_gpu=False, overrides={}, tell=lambda *_, **__: None)
