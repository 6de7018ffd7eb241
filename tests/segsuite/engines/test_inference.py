from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from monai.utils.enums import BlendMode

from segsuite.engines import inference
from segsuite.engines.inference import WindowInference, argmax_rows, predict_rows, threshold_rows, window_starts

IMAGE = np.random.default_rng(0).normal(size=(1, 23, 17, 11)).astype(np.float32)
PATCH = (8, 8, 8)


def pointwise(batch: torch.Tensor) -> torch.Tensor:
    """A network without context: blending must reproduce it exactly."""
    return torch.cat([batch, batch**2, -batch], dim=1)


@pytest.fixture
def convolution() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Conv3d(1, 3, 3, padding=1).eval()


def whole(network: object, image: np.ndarray = IMAGE, **more: object) -> np.ndarray:
    windows = WindowInference(patch_size=PATCH, n_classes=3, **more)
    return np.concatenate(list(predict_rows(network, image, windows)), axis=1)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_network_without_context_is_reproduced(overlap: float, batch_size: int) -> None:
    expected = pointwise(torch.from_numpy(IMAGE)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(whole(pointwise, overlap=overlap, batch_size=batch_size), expected, atol=1e-5)


def test_blending_agrees_with_monai(convolution: torch.nn.Module) -> None:
    """Same windows (the image is a whole number of steps), same Gaussian."""
    image = IMAGE[:, :20, :16, :8]
    peer = sliding_window_inference(
        torch.from_numpy(image)[None], PATCH, 4, lambda x: convolution(x).softmax(1), overlap=0.5, mode="gaussian"
    )
    np.testing.assert_allclose(whole(convolution, image, overlap=0.5), peer[0].detach().numpy(), atol=1e-4)


def test_probabilities_sum_to_one(convolution: torch.nn.Module) -> None:
    np.testing.assert_allclose(whole(convolution).sum(axis=0), 1, atol=1e-5)


def test_rows_come_in_parts_that_add_up() -> None:
    windows = WindowInference(patch_size=PATCH, n_classes=3)
    parts = list(predict_rows(pointwise, IMAGE, windows))
    assert max(part.shape[1] for part in parts) <= PATCH[0]
    assert sum(part.shape[1] for part in parts) == IMAGE.shape[1]


@pytest.mark.parametrize("axis", [1, 2])
def test_rows_along_another_axis_are_the_same_volume(convolution: torch.nn.Module, axis: int) -> None:
    windows = WindowInference(patch_size=(8, 6, 4), n_classes=3, mirror_axes=(1,))
    expected = np.concatenate(list(predict_rows(convolution, IMAGE, windows)), axis=1)
    rows = np.concatenate(list(predict_rows(convolution, IMAGE, windows, axis=axis)), axis=1)
    np.testing.assert_allclose(np.moveaxis(rows, 1, 1 + axis), expected, atol=1e-5)


def test_many_outputs_are_held_in_half_precision_and_leave_in_small_parts(
    convolution: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(convolution)
    monkeypatch.setattr(inference, "MOST_EXACT_BYTES", 1000)
    monkeypatch.setattr(inference, "PART_VALUES", 3 * 17 * 11 * 2)
    monkeypatch.setattr(inference, "MOST_BATCH_VALUES", 1)
    windows = WindowInference(patch_size=PATCH, n_classes=3)
    assert (windows.held_rows((23, 17, 11)), windows.windows_per_pass) == (((3, 8, 17, 11), torch.float16), 1)
    parts = list(predict_rows(convolution, IMAGE, windows))
    assert {part.shape[1] for part in parts} <= {1, 2}
    found = np.concatenate(parts, axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - expected).max() > 0


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :, :5]], ids=["larger", "smaller than a window"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_some_columns_are_those_of_the_whole(convolution: torch.nn.Module, image: np.ndarray, axis: int) -> None:
    """Bit by bit: a part is made of the same windows in the same order."""
    windows = WindowInference(patch_size=PATCH, n_classes=3)
    expected = np.concatenate(list(predict_rows(convolution, image, windows, axis=axis)), axis=1)
    n = expected.shape[2]
    for columns in (slice(0, 2), slice(1, n), slice(n // 2, n // 2 + 1), slice(n - 1, n)):
        found = np.concatenate(list(predict_rows(convolution, image, windows, axis=axis, columns=columns)), axis=1)
        np.testing.assert_allclose(found, expected[:, :, columns], atol=1e-6)


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_parts_are_so_narrow_that_the_held_rows_fit(monkeypatch: pytest.MonkeyPatch, overlap: float) -> None:
    windows = WindowInference(patch_size=(64, 64, 64), n_classes=101, overlap=overlap)
    assert windows.parts((100, 100, 100), axis=2) == [slice(0, 100)]
    monkeypatch.setattr(inference, "MOST_HELD_BYTES", 500_000_000)
    for shape in ((273, 273, 400), (40, 300, 20), (300, 300, 300)):
        parts = windows.parts(shape, axis=2)
        assert parts[0].start == 0
        assert parts[-1].stop == shape[0]
        assert all(before.stop == after.start for before, after in itertools.pairwise(parts))
        assert all(windows._held_bytes(shape, 2, part) <= 500_000_000 for part in parts)
    monkeypatch.setattr(inference, "MOST_HELD_BYTES", 1)
    assert len(windows.parts((273, 273, 400), axis=2)) == len(window_starts(273, 64, overlap)), "one window a part, not less"


def test_importance_is_monais() -> None:
    for patch in ((8, 8, 8), (32, 48, 31), (7, 5, 1)):
        peer = compute_importance_map(patch, mode=BlendMode.GAUSSIAN, sigma_scale=0.125)
        torch.testing.assert_close(inference.gaussian_importance(patch), peer, atol=1e-6, rtol=1e-5)


def test_smaller_than_a_window_is_padded_and_cut_again() -> None:
    small = IMAGE[:, :5, :17, :3]
    expected = pointwise(torch.from_numpy(small)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(whole(pointwise, small), expected, atol=1e-5)


def test_mirroring_makes_it_equivariant(convolution: torch.nn.Module) -> None:
    plain = whole(convolution, IMAGE[:, :16, :16, :8], mirror_axes=(0,))
    flipped = whole(convolution, IMAGE[:, :16, :16, :8][:, ::-1].copy(), mirror_axes=(0,))
    np.testing.assert_allclose(plain, flipped[:, ::-1], atol=1e-5)


def test_constant_windows_are_background_without_asking_the_network() -> None:
    def refuse(batch: torch.Tensor) -> torch.Tensor:
        pytest.fail("asked")

    assert (whole(refuse, np.zeros((1, 9, 9, 9), dtype=np.float32)).argmax(axis=0) == 0).all()


def test_argmax_of_equal_probabilities_is_the_lower_label() -> None:
    assert argmax_rows(iter([torch.full((3, 1, 1, 1), 1 / 3)]), n_classes=3).tolist() == [[[0]]]


@pytest.mark.parametrize(("length", "starts"), [(8, [0]), (9, [0, 1]), (16, [0, 4, 8]), (5, [0])])
def test_windows_cover_from_end_to_end(length: int, starts: list[int]) -> None:
    assert window_starts(length, 8, 0.5) == starts


def test_regions_have_a_sigmoid_each_and_constant_windows_hold_none() -> None:
    windows = WindowInference(patch_size=PATCH, n_classes=3, sigmoid=True)
    found = np.concatenate(list(predict_rows(pointwise, IMAGE, windows)), axis=1)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-pointwise(torch.from_numpy(IMAGE)[None])[0].numpy())), atol=1e-5)
    flat = np.concatenate(list(predict_rows(pointwise, np.ones((1, 8, 8, 8), np.float32), windows)), axis=1)
    assert not flat.any()


def test_mirrored_regions_are_averaged_as_probabilities() -> None:
    def network(batch: torch.Tensor) -> torch.Tensor:
        return batch * torch.linspace(-2, 2, batch.shape[2]).view(1, 1, -1, 1, 1)

    image = np.random.default_rng(3).normal(size=(1, 8, 8, 8)).astype(np.float32)
    windows = WindowInference(patch_size=PATCH, n_classes=1, sigmoid=True, mirror_axes=(0,))
    found = np.concatenate(list(predict_rows(network, image, windows)), axis=1)
    ramp = np.linspace(-2, 2, 8).reshape(1, 8, 1, 1)
    expected = (1 / (1 + np.exp(-image * ramp)) + 1 / (1 + np.exp(image * ramp))) / 2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_half_a_probability_is_inside() -> None:
    rows = iter([torch.tensor([0.5, 0.4999]).view(2, 1, 1, 1), torch.tensor([0.6, 0.9]).view(2, 1, 1, 1)])
    assert threshold_rows(rows, n_regions=2).ravel().tolist() == [0b01, 0b11]
