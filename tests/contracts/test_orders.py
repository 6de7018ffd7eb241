"""The same scan gets the same mask, and the same place in a training cache, in all 48 orders in which a file can store its axes.

Networks of random weights call much that no trained one would: every tie, border and small component is there. All is computed
in single precision, and masks are asked to be equal voxel by voxel: not one may differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from pipelines.cohort_contrast import network as cohort_network
from pipelines.fewshot import network as fewshot_network
from pipelines.fewshot import registration
from pipelines.fewshot.predictor import FewshotPredictor
from pipelines.fewshot.settings import KernelSettings
from pipelines.prostate_zones import network as zone_network
from pipelines.supervised import network as supervised_network
from segsuite.data.cache import prepare_cases
from segsuite.data.fingerprint import take_fingerprint
from segsuite.data.manifest import Case, Manifest
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.doctor import all_orientations
from segsuite.engines.model_folder import read_model_folder, write_model_folder
from segsuite.engines.segmentation import Predictor, Request, Segmentation
from segsuite.pipeline import find_pipelines
from segsuite.volumes.orders import order_onto
from segsuite.volumes.reading import read_labels, read_volume

FULL = bool(os.environ.get("SEGSUITE_FULL"))
ORDERS = [np.rint(matrix[:3, :3]).astype(int) for matrix in all_orientations()]
SOME = sorted(np.random.default_rng(20).choice(48, 3, replace=False).tolist())
TILT = np.array([[0.9612617, 0.2689484, 0.0603], [-0.2756374, 0.9379, 0.21096], [0.0, -0.2191, 0.9757]])
"""About 16 degrees about two axes; not quite orthogonal, as headers are."""
HALF_WAY = np.array([[0.70710678, -0.70710678, 0], [0.70710678, 0.70710678, 0], [0, 0, 1]])
"""45 degrees: neither axis in the plane is nearer to left-right."""
STRAIGHT = np.eye(3)


def axial(spacing: Sequence[float], directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing)
    affine[:3, 3] = [-31.3, 17.7, -204.1]
    return affine


def stored(array: np.ndarray, affine: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An array (i, j, k) whose axes are exchanged and turned round as a signed permutation says, and where it lies then."""
    axes = np.abs(order).argmax(axis=0)
    turned = order.sum(axis=0) < 0
    moved = np.flip(array.transpose(axes), tuple(np.flatnonzero(turned)))
    change = np.zeros((4, 4))
    change[3, 3] = 1
    change[:3, :3] = order
    change[:3, 3] = [(array.shape[axis] - 1) * (order[axis].sum() < 0) for axis in range(3)]
    return np.ascontiguousarray(moved), affine @ change


def write(path: Path, array: np.ndarray, affine: np.ndarray, order: np.ndarray, *, by_qform: bool = False) -> Path:
    moved, its_affine = stored(array, affine, order)
    image = nib.Nifti1Image(moved, its_affine)
    if by_qform:
        image.set_sform(None, code=0)
        image.set_qform(its_affine, code=1, strip_shears=True)
    nib.save(image, path)
    return path


@dataclass(frozen=True)
class Scan:
    """A picture of soft noise with padded slices, and a mask whose borders lie half way between voxels of other sizes."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    directions: np.ndarray = field(default_factory=lambda: STRAIGHT)
    by_qform: bool = False

    @property
    def image(self) -> np.ndarray:
        draw = np.random.default_rng(self.shape[0])
        soft = ndimage.gaussian_filter(draw.normal(size=self.shape), 1.5)
        image = np.round(400 + 1000 * soft).astype(np.int16)
        image[:, :, -2:] = 0
        image[-1] = 0
        return image

    @property
    def mask(self) -> np.ndarray:
        mask = np.zeros(self.shape, dtype=np.uint8)
        for number, odd in enumerate((0, 1), start=1):
            mask[odd::4, 1::3, 2:9] = number
        mask[3:9, 4:10, 3:7] = 3
        return mask

    def write(self, folder: Path, order: np.ndarray, *, order_of_mask: np.ndarray | None = None) -> tuple[Path, Path]:
        affine = axial(self.spacing, self.directions)
        folder.mkdir(parents=True, exist_ok=True)
        image = write(folder / "image.nii", self.image, affine, order, by_qform=self.by_qform)
        its_order = order if order_of_mask is None else order_of_mask
        return image, write(folder / "mask.nii", self.mask, affine, its_order, by_qform=self.by_qform)


SCANS = {
    "odd": Scan((19, 21, 13), (1.0, 1.0, 3.0)),
    "even": Scan((18, 22, 14), (0.7, 0.7, 2.2)),
    "oblique": Scan((19, 20, 13), (0.75, 0.75, 2.5), TILT),
    "by quaternion": Scan((18, 21, 13), (0.6, 0.75, 3.3), TILT, by_qform=True),
    "half way": Scan((18, 21, 13), (0.75, 0.75, 3.0), HALF_WAY, by_qform=True),
}
INFERENCE = {"overlap": 0.5, "precision": "float32", "largest_component": [1, 2], "mirror_axes": [0], "patch_size": [16, 16, 8]}
UNET = {"channels": [4, 8], "kernels": [[3, 3, 3]] * 2, "strides": [[1, 1, 1], [2, 2, 1]], "n_supervised": 1}
NAMES = ("background", "one", "two", "three")
ZONES = ("background", "peripheral_zone", "transition_zone", "distal_prostatic_urethra", "anterior_fibromuscular_stroma")


def preprocessing(scheme: str = "zscore", *, region: bool = False, with_place: bool = False) -> Preprocessing:
    """Coarser and finer than the scans, to sizes that leave half a voxel over."""
    extent = (12.5, 9.0, 26.0) if region else None
    return Preprocessing((1.4, 0.9, 2.0), (Normalisation(scheme),), extent, with_place)


def model(out: Path, pipeline: str, network: Any, arguments: dict[str, Any], how: Preprocessing, **more: Any) -> Path:
    names = more.pop("names", NAMES)
    description = {
        "pipeline": pipeline,
        "name": pipeline,
        "labels": {name: number for number, name in enumerate(names)},
        "class_labels": list(range(len(names))),
        "channels": {"0": "MR"},
        "preprocessing": how.to_json(),
        "network": arguments,
        "inference": INFERENCE | more.pop("inference", {}),
        "data": {"training_cases": [], "manifest": "none", "licence": ""},
        "training": {"minutes": 0, "steps": 0, "validation_dice": {}},
    }
    weights = {**network.state_dict(), **more.pop("weights", {})}
    return write_model_folder(out, weights=weights, description=description | more, card="").path


def volumetric(out: Path) -> Path:
    arguments = {"kind": "unet", "in_channels": 1, "out_channels": 4, **UNET}
    return model(
        out, "supervised", supervised_network.build_network(arguments), arguments, preprocessing("percentile", region=True)
    )


def of_regions(out: Path) -> Path:
    """Structures that contain each other, of which each keeps its largest component."""
    arguments = {"kind": "unet", "in_channels": 1, "out_channels": 2, **UNET}
    more = {"regions": {"whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    inference = {"largest_component": ["whole", "core"]}
    network = supervised_network.build_network(arguments).eval()
    with torch.no_grad():  # about half of the voxels in each
        network.heads[0].bias -= network(torch.randn(1, 1, 16, 16, 8)).mean(dim=(0, 2, 3, 4))
    return model(out, "supervised", network, arguments, preprocessing(), names=NAMES[:3], inference=inference, **more)


def by_slices(out: Path) -> Path:
    arguments = {"kind": "slice_network", "in_channels": 4, "out_channels": 4, "architecture": "unet", "encoder": "resnet18"}
    network = supervised_network.build_network(arguments)
    inference = {"patch_size": [32, 32, 1], "mirror_axes": []}
    how = preprocessing("zscore_nonzero", with_place=True)
    return model(out, "supervised", network, arguments, how, inference=inference)


def zones(out: Path) -> Path:
    arguments = {
        "in_channels": 1, "branches": [[1, 2], [2, 3, 4]], "channels": [4, 8], "strides": [[2, 2, 1]], "norm": "instance",
        "dropout": 0.0,
    }  # fmt: skip
    inference = {"region": "search", "post_processing": True, "uncertainty": True, "largest_component": []}
    network = zone_network.build_network(arguments)
    how = preprocessing("robust", region=True)
    return model(out, "prostate_zones", network, arguments, how, names=ZONES, inference=inference)


def with_new_structures(out: Path, order: np.ndarray = ORDERS[0]) -> Path:
    """A base model of two structures, a third registered from a scan whose file and mask store their axes in some order."""
    extractor = {"kind": "unet", "in_channels": 1, "out_channels": 3, **UNET}
    arguments = {"extractor": extractor, "n_base": 2, "n_regions": 0, "feature_channels": 6, "foreground": False}
    inference = {"probability_maps": True, "foreground_map": False, **KernelSettings().model_dump()}
    network = fewshot_network.build_network(arguments)
    more = {"kernels": [], "hidden": [], "rule": "ridge", "flipped_axes": []}
    base = model(out / "base", "fewshot", network, arguments, preprocessing(), names=NAMES[:3], inference=inference, **more)
    image, mask = SCANS["odd"].write(out / "support", order, order_of_mask=ORDERS[7] @ order)
    predictor = FewshotPredictor(read_model_folder(base), device="cpu")
    return registration.register(
        predictor, "three", [registration.Support((image,), mask, 3)], out / "model", value=3, force=True
    ).path


def contrast(out: Path) -> Path:
    arguments = {
        "encoder": "convolutional", "spatial_shape": [16, 18, 12], "in_channels": 1, "channels": [4, 8], "common_dimensions": 3,
        "salient_dimensions": 3, "norm": "batch",
    }  # fmt: skip
    people = {"healthy_scores": [], "healthy_subjects": [], "subjects": ["a"], "outlying_distance": None, "subject_of_case": {}}
    reference = {"common": torch.zeros(1, 3), "salient": torch.zeros(1, 3), "healthy_map": torch.zeros(16, 18, 12)}
    weights = {f"reference.{name}": tensor for name, tensor in reference.items()} | {
        "reference.baseline": torch.zeros(1, 16, 18, 12)
    }
    return model(
        out, "cohort_contrast", cohort_network.build_network(arguments), arguments, preprocessing(),
        names=("background", "region"),
        inference={"maps": "gradients", "steps": 4, "region_share": 0.05, "alpha": 0.05},
        weights=weights, within_label=True, reference=people,
    )  # fmt: skip


MODELS: dict[str, Callable[[Path], Path]] = {
    "volumetric": volumetric, "of_regions": of_regions, "by_slices": by_slices, "zones": zones,
    "with_new_structures": with_new_structures, "contrast": contrast,
}  # fmt: skip
SLOW = pytest.mark.slow
OF_MODEL = {"volumetric": tuple(SCANS), "zones": ("odd", "even", "half way"), "by_slices": ("odd",)}
"""Without ``SEGSUITE_FULL``."""
MORE = [
    pytest.param(name, kind, marks=SLOW)
    for name in MODELS
    for kind in SCANS
    if (name, kind) != ("volumetric", "odd") and (FULL or kind in OF_MODEL.get(name, ("odd", "even", "oblique")))
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Predictor]:
    """A predictor with random weights, by name; made once."""
    known: dict[str, Predictor] = {}

    def open_one(name: str) -> Predictor:
        if name not in known:
            torch.manual_seed(3)
            folder = MODELS[name](tmp_path_factory.mktemp(name) / "model")
            opener = find_pipelines()[read_model_folder(folder).pipeline].opener
            known[name] = opener.load_predictor(folder, device="cpu", overrides={})
        return known[name]

    return open_one


def segmented(predictor: Predictor, files: tuple[Path, Path], **attributes: Any) -> tuple[Segmentation, Any]:
    volume = read_volume(files[0])
    known = {"mask": str(files[1]), **attributes}
    request = Request("c", force=True, attributes=known, keep_probabilities=True, keep_regions=True)
    return predictor.segment(volume, request), volume.grid


def arrays_of(found: Segmentation) -> dict[str, Any]:
    """All that lies on the image's grid."""
    named = {"labels": found.labels, "probabilities": found.probabilities, "region codes": found.region_codes, **found.volumes}
    return {name: array for name, array in named.items() if array is not None}


def orders(everything: bool) -> list[int]:
    return list(range(48)) if everything or FULL else SOME


@pytest.mark.parametrize(("name", "kind"), [("volumetric", "odd"), *MORE])
def test_one_scan_gets_one_mask(name: str, kind: str, opened: Callable[[str], Predictor], tmp_path: Path) -> None:
    predictor, scan = opened(name), SCANS[kind]
    expected, grid = segmented(predictor, scan.write(tmp_path, ORDERS[0]))
    assert len(np.unique(expected.mask)) > 1
    for number in orders(everything=(name, kind) == ("volumetric", "odd")):
        files = scan.write(tmp_path, ORDERS[number], order_of_mask=ORDERS[(5 * number + 1) % 48])
        found, its_grid = segmented(predictor, files)
        back = order_onto(its_grid, grid, names=("one order", "another"))
        arrays = arrays_of(found)
        assert arrays.keys() == arrays_of(expected).keys()
        for what, array in arrays_of(expected).items():
            assert np.array_equal(back.applied(arrays[what]), array), (number, what)
        assert found.notes == expected.notes
        reports = [dict(one.report or {}) for one in (found, expected)]
        boxes = [report.pop("region", {}).get("box") for report in reports]
        assert reports[0] == reports[1]
        if boxes[0] is not None:
            seen = back.applied_box(tuple(slice(*part) for part in boxes[0]), its_grid.shape)
            assert [[part.start, part.stop] for part in seen] == boxes[1]


@SLOW
@pytest.mark.parametrize("number", SOME)
def test_the_box_of_a_user_is_of_voxels_as_the_file_stores_them(
    number: int, opened: Callable[[str], Predictor], tmp_path: Path
) -> None:
    predictor, scan = opened("zones"), SCANS["odd"]
    box = (slice(2, 15), slice(3, 17), slice(1, 10))
    expected, _ = segmented(predictor, scan.write(tmp_path, ORDERS[0]), box="2:15,3:17,1:10")
    assert expected.mask.any()
    marked = np.zeros(scan.shape, dtype=bool)
    marked[box] = True
    moved, _ = stored(marked, np.eye(4), ORDERS[number])
    corners = np.argwhere(moved)
    text = ",".join(f"{low}:{high + 1}" for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True))
    found, _ = segmented(predictor, scan.write(tmp_path, ORDERS[number]), box=text)
    assert np.array_equal(found.mask, stored(expected.mask, np.eye(4), ORDERS[number])[0])
    assert found.report is not None
    assert [f"{low}:{high}" for low, high in found.report["region"]["box"]] == text.split(",")


@pytest.mark.parametrize("kind", ["even", *(pytest.param(kind, marks=SLOW) for kind in SCANS if kind != "even")])
def test_training_caches_are_equal_byte_for_byte(kind: str, tmp_path: Path) -> None:
    names = {name: number for number, name in enumerate(NAMES)}
    manifest = Manifest(name="orders", labels=names, channels={"0": "MR"}, training=())
    case = Case(case_id="c", patient_id="c", image="image.nii", label="mask.nii")
    hows = [preprocessing("zscore"), preprocessing("robust", region=True, with_place=True)]

    def arrays(number: int) -> list[bytes]:
        folder = tmp_path / str(number)
        SCANS[kind].write(folder, ORDERS[number], order_of_mask=ORDERS[(7 * number) % 48])
        found = []
        for how in hows:
            (prepared,) = prepare_cases([case], manifest, data_root=folder, cache_dir=folder / "cache", preprocessing=how)
            found += [path.read_bytes() for path in sorted(prepared.folder.iterdir())]
        fingerprint = take_fingerprint(manifest, [case], data_root=folder)
        return [*found, repr(fingerprint).encode()]

    expected = arrays(0)
    assert len(expected) == 9
    for number in orders(everything=kind == "odd"):
        assert arrays(number) == expected, number


@SLOW
def test_a_structure_registered_from_a_scan_in_any_order_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart from the sample of its voxels, which is drawn by the hash of the files."""
    monkeypatch.setattr(registration, "digest_of", lambda *_: "0" * 64)
    found = []
    for number in (0, *SOME[:2]):
        torch.manual_seed(3)
        found.append(read_model_folder(with_new_structures(tmp_path / str(number), ORDERS[number])).weights())
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(torch.equal(other[name], tensor) for name, tensor in found[0].items())


def test_a_mask_of_an_order_is_read_as_the_image_has_it(tmp_path: Path) -> None:
    """The test's own way of storing is right: what nibabel calls right, front and top is there in every order."""
    scan = SCANS["even"]
    for number in SOME:
        path = scan.write(tmp_path, ORDERS[number])[1]
        canonical = nib.as_closest_canonical(nib.load(path))
        assert np.array_equal(np.asarray(canonical.dataobj), scan.mask)
        assert set(np.unique(read_labels(path).labels)) == {0, 1, 2, 3}
