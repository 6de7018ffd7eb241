from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segsuite.data.manifest import Manifest
from segsuite.reports.overlays import as_data_uri, overlay_figure, side_maps


def test_picture_of_a_case(cohort: Manifest, cohort_folder: Path) -> None:
    case = cohort.training[0]
    image, label = cohort_folder / case.images[0], cohort_folder / str(case.label)
    figure = overlay_figure(image, label, label)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split()[0] for title in titles] == ["axial", "axial", "axial", "coronal", "sagittal"]
    assert all(axes.images and axes.collections for axes in figure.axes)
    head, data = as_data_uri(figure).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_masks_alone_are_shown_on_black(cohort: Manifest, cohort_folder: Path) -> None:
    figure = overlay_figure(None, None, cohort_folder / str(cohort.training[0].label))
    assert not figure.axes[0].images[0].get_array().any()


def test_maps_beside_the_mask_get_a_row_of_their_own(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((12, 12, 6), dtype=np.uint8)
    mask[3:9, 3:9, 1:5] = 1
    path = write_nifti(tmp_path / "t2w.nii.gz", mask)
    assert side_maps(path) == []
    plain = overlay_figure(None, path, None)
    write_nifti(tmp_path / "t2w_map_uncertainty.nii.gz", mask.astype(np.float32) / 2)
    write_nifti(tmp_path / "t2w_other_map_uncertainty.nii.gz", mask.astype(np.float32))
    assert side_maps(path) == [("uncertainty", tmp_path / "t2w_map_uncertainty.nii.gz")]
    figure = overlay_figure(None, path, None)
    assert len(figure.axes) == 2 * len(plain.axes) + 1  # and the colour bar
    assert figure.axes[len(plain.axes)].get_title(loc="left") == "uncertainty"
