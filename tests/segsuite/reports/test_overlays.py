from __future__ import annotations

import base64
from pathlib import Path

from segsuite.data.manifest import Manifest
from segsuite.reports.overlays import as_data_uri, overlay_figure


def test_picture_of_a_case(cohort: Manifest, cohort_folder: Path) -> None:
    case = cohort.training[0]
    image, label = cohort_folder / case.images[0], cohort_folder / str(case.label)
    figure = overlay_figure(image, label, label)
    assert len(figure.axes) == 3
    assert all(axes.images and axes.collections for axes in figure.axes)
    head, data = as_data_uri(figure).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_masks_alone_are_shown_on_black(cohort: Manifest, cohort_folder: Path) -> None:
    figure = overlay_figure(None, None, cohort_folder / str(cohort.training[0].label))
    assert not figure.axes[0].images[0].get_array().any()
