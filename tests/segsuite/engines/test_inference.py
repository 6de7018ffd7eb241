from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from segsuite.engines.inference import WindowInference, argmax_rows, predict_rows, window_starts

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
    assert argmax_rows(iter([np.full((3, 1, 1, 1), 1 / 3)]), n_classes=3).tolist() == [[[0]]]


@pytest.mark.parametrize(("length", "starts"), [(8, [0]), (9, [0, 1]), (16, [0, 4, 8]), (5, [0])])
def test_windows_cover_from_end_to_end(length: int, starts: list[int]) -> None:
    assert window_starts(length, 8, 0.5) == starts
