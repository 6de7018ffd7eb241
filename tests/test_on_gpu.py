"""What only a GPU can show: that it trains, and gives what a CPU gives. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.embedding import finish_network
from pipelines.cohort_contrast.network import build_network
from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.data.spatial import SpatialAugmentation, draw_affine, look, read_view
from segsuite.engines.run_folder import RunFolder
from segsuite.pipeline import Runtime
from segsuite.verbs.predicting import open_predictor, predict
from segsuite.verbs.runs import train
from tests.pipelines.cohort_contrast.conftest import two_groups

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU (CUDA), and this machine has none"),
]


@pytest.mark.parametrize(("precision", "least_equal"), [("float32", 0.999), ("bfloat16", 0.97)])
def test_masks_of_a_gpu_are_those_of_a_cpu(tiny_run: RunFolder, tmp_path: Path, precision: str, least_equal: float) -> None:
    images = tiny_run.root / "cohort" / "images"
    for device in ("cpu", "cuda"):
        how = [f"precision={precision if device == 'cuda' else 'float32'}", "mirror_axes=[0]"]
        outcome = predict(tiny_run.root, [images], tmp_path / device, device=device, overrides=how, isolate=False)
        assert outcome.failures == {}
    for mask in sorted((tmp_path / "cpu").glob("*.nii.gz")):
        pair = [np.asarray(nib.load(tmp_path / device / mask.name).dataobj) for device in ("cpu", "cuda")]
        assert np.mean(pair[0] == pair[1]) > least_equal


def test_several_cases_are_in_hand_on_a_gpu(tiny_run: RunFolder) -> None:
    at_once = {
        device: open_predictor(tiny_run.root, device=device, overrides=(), threads=None).n_at_once for device in ("cpu", "cuda")
    }
    assert at_once["cpu"] == 1
    assert at_once["cuda"] == min(8, torch.get_num_threads())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("compiled", ["true", "null"])
def test_a_gpu_trains(tiny_overrides: list[str], tmp_path: Path, precision: str, compiled: str) -> None:
    how = [*tiny_overrides, f"training.precision={precision}", "training.learning_rate=1e-2", "training.max_steps=40"]
    how += [f"training.compiled={compiled}"]
    run = train("supervised/phantom", overrides=how, out=tmp_path / "run", runtime=Runtime(device="cuda", workers=2))
    losses = [float(row.split(",")[3]) for row in run.history.read_text().splitlines() if ",loss," in row]
    assert len(losses) == 10
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_cohort_network_is_finished_on_a_gpu() -> None:
    torch.manual_seed(0)
    arguments = {
        "encoder": "convolutional", "spatial_shape": (16, 16), "in_channels": 1, "channels": (8, 8),
        "common_dimensions": 4, "salient_dimensions": 3, "norm": "batch",
    }  # fmt: skip
    scans = two_groups(60)
    found = finish_network(build_network(arguments), scans, erase=True, seed=0, device="cuda")
    np.testing.assert_allclose(found.salient[~scans.is_diseased].mean(axis=0), 0, atol=1e-4)


def test_a_batch_is_augmented_on_a_gpu_as_on_a_cpu() -> None:
    image, label = torch.randn(6, 1, 12, 10, 8), torch.randint(0, 3, (6, 12, 10, 8))
    often = IntensityAugmentation(0, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)
    here = augment_batch(image, label, often, seed=3)
    there = augment_batch(image.cuda(), label.cuda(), often, seed=3)
    torch.testing.assert_close(there[0].cpu(), here[0], atol=1e-3, rtol=1e-3)
    assert torch.equal(there[1].cpu(), here[1])


@pytest.mark.parametrize("labels", [3, 12])
def test_a_gpu_turns_patches_as_a_cpu_does(labels: int) -> None:
    draw = np.random.default_rng(0)
    image = draw.normal(size=(1, 30, 28, 26)).astype(np.float32)
    blocks = draw.integers(-1, labels, size=(6, 7, 13)).repeat(5, 0).repeat(4, 1).repeat(2, 2)
    for centre in ((15, 14, 13), (3, 20, 25)):
        affine = draw_affine(SpatialAugmentation(1, 30, 1), draw, (1, 1, 1))
        part, marks, view = read_view(image, blocks, centre, (12, 10, 8), affine)
        here = look(torch.from_numpy(part), torch.from_numpy(marks), view)
        there = look(torch.from_numpy(part).cuda(), torch.from_numpy(marks).cuda(), view)
        torch.testing.assert_close(there[0].cpu(), here[0], atol=1e-3, rtol=1e-3)
        assert (there[1].cpu() == here[1]).float().mean() > 0.99
