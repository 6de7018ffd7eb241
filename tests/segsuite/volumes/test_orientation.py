from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from segsuite.volumes.orientation import orientation_of

SIGNED = [
    np.eye(3)[:, order] * signs for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def turned(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """A rotation by Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(np.radians(degrees)) * across + (1 - np.cos(np.radians(degrees))) * across @ across


def affine_of(directions: np.ndarray, spacing: tuple[float, float, float] = (0.5, 0.7, 3.0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    return affine


def brought_upright(affine: np.ndarray) -> np.ndarray:
    """Directions of the three axes in RAS+ order."""
    orientation = orientation_of(affine)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    stored = np.argsort(orientation[:, 0])
    return directions[:, stored] * orientation[stored, 1]


@pytest.mark.parametrize("signed", SIGNED)
@pytest.mark.parametrize(("axis", "degrees"), [((1, 0, 0), 0), ((1, 0, 0), 25), ((1, 2, 3), 31)])
def test_planes_that_are_not_very_oblique_are_as_nibabel_has_them(
    axis: tuple[float, float, float], degrees: float, signed: np.ndarray
) -> None:
    affine = affine_of(turned(axis, degrees) @ signed)
    assert np.array_equal(orientation_of(affine), nib.orientations.io_orientation(affine))


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1), (1, -2, 3)])
@pytest.mark.parametrize("degrees", [45, -45, 44.9, 60, 90, 135])
def test_half_way_between_two_axes_the_order_of_the_file_does_not_decide(
    axis: tuple[float, float, float], degrees: float
) -> None:
    """With the noise of single precision, which headers have; spacing goes with its axis."""
    directions = turned(axis, degrees)
    first = brought_upright(affine_of(directions))
    draw = np.random.default_rng(0)
    for signed in SIGNED:
        spacing = tuple(np.abs(signed).T @ (0.5, 0.7, 3.0))
        noisy = affine_of(directions @ signed, spacing)
        noisy[:3, :3] *= 1 + draw.uniform(-1e-7, 1e-7, size=(3, 3))
        np.testing.assert_allclose(brought_upright(noisy), first, atol=1e-5)


def test_a_tie_goes_to_the_right_and_to_the_front() -> None:
    """Turned by 45 degrees about foot to head: one axis runs to right and front, the other to right and back."""
    found = brought_upright(affine_of(turned((0, 0, 1), 45)))
    np.testing.assert_allclose(found[:, 0], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-9)
    np.testing.assert_allclose(found[:, 1], [-np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-9)
