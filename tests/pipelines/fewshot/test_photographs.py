"""Tiny folders in the layouts of PASCAL VOC and COCO become manifests; nothing is looked for elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.fewshot.benchmark import ROWS, run_benchmark
from pipelines.fewshot.photographs import VOC_CLASSES, import_photographs, novel_classes
from pipelines.fewshot.tables import pooled_as_markdown
from segsuite.data.manifest import read_manifest
from segsuite.errors import ManifestError, SettingsError
from segsuite.pipeline import Runtime
from segsuite.settings import read_config
from segsuite.volumes.reading import read_channels, read_labels

CAT, DOG = VOC_CLASSES.index("cat") + 1, VOC_CLASSES.index("dog") + 1


def voc(folder: Path, n: int = 8) -> Path:
    """Photographs of 32 x 40 pixels: a bright square is a cat, a dark one a dog, with an ignored border."""
    draw = np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number in range(n):
        label = np.zeros((32, 40), dtype=np.uint8)
        label[3:15, 5:15], label[18:30, 20:34] = CAT, DOG
        pixels = draw.normal(120, 5, size=(32, 40, 3)) + np.where(label == CAT, 90, np.where(label == DOG, -90, 0))[..., None]
        label[2, 4:16] = 255
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "JPEGImages" / f"p{number}.jpg", quality=95)
        picture = Image.fromarray(label, mode="P")
        picture.putpalette([value % 256 for value in range(768)])
        picture.save(folder / "SegmentationClass" / f"p{number}.png")
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("".join(f"p{number}\n" for number in range(n - 2)))
    (lists / "val.txt").write_text("".join(f"p{number}\n" for number in range(n - 2, n)))
    return folder


def test_folds_of_both_sets() -> None:
    assert novel_classes(VOC_CLASSES, 0) == ("aeroplane", "bicycle", "bird", "boat", "bottle")
    assert novel_classes(VOC_CLASSES, 3)[-1] == "tvmonitor"
    numbers = [str(number) for number in range(1, 81)]
    assert novel_classes(numbers, 1, interleaved=True)[:3] == ("2", "6", "10")
    for config, names, interleaved in (("pascal_5i", VOC_CLASSES, False), ("coco_20i", None, True)):
        folds = read_config(f"fewshot/{config}")["benchmark"]["folds"]
        known = names or [folds[f"fold{n % 4}"][n // 4] for n in range(80)]
        assert len(set(known)) == len(known)
        for fold in range(4):
            assert tuple(folds[f"fold{fold}"]) == novel_classes(known, fold, interleaved=interleaved)


def test_voc_pixels_and_labels_lie_where_they_were(tmp_path: Path) -> None:
    manifest = import_photographs(voc(tmp_path / "VOC2012", 3), tmp_path / "out", layout="voc")
    assert (manifest.ignore_label, manifest.n_channels, len(manifest.structures)) == (255, 3, 20)
    assert [case.fold for case in manifest.training] == [1, 0, 0]
    case = read_manifest(tmp_path / "out" / "manifest.json").training[0]
    volume = read_channels([tmp_path / "out" / name for name in case.images])
    labels = read_labels(tmp_path / "out" / str(case.label)).labels[..., 0]
    assert volume.array.shape == (3, 40, 32, 1)
    assert {CAT, DOG, 255, 0} == set(np.unique(labels).tolist())
    assert labels[5, 3] == CAT
    assert labels[4, 2] == 255
    assert volume.array[0, ..., 0][labels == CAT].mean() > 190
    assert volume.array[2, ..., 0][labels == DOG].mean() < 60
    (tmp_path / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(ManifestError, match="must hold .*val.txt, got none. Nothing is downloaded"):
        import_photographs(tmp_path / "VOC2012", tmp_path / "other", layout="voc")
    with pytest.raises(SettingsError, match="--layout must be one of"):
        import_photographs(tmp_path / "VOC2012", tmp_path / "other", layout="ade")


def test_coco_polygons_and_crowds(tmp_path: Path) -> None:
    categories = [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}]
    square = {"image_id": 1, "category_id": 90, "iscrowd": 0, "area": 16, "segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]]}
    behind = {"image_id": 1, "category_id": 3, "iscrowd": 0, "area": 40, "segmentation": [[2, 1, 10, 1, 10, 5, 2, 5]]}
    crowd = {"image_id": 1, "category_id": 3, "iscrowd": 1, "area": 1, "segmentation": {"counts": [86, 2, 8], "size": [8, 12]}}
    image = {"id": 1, "file_name": "a.jpg", "height": 8, "width": 12}
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for part in ("train2014", "val2014"):
        (tmp_path / "coco" / part).mkdir()
        Image.fromarray(np.zeros((8, 12), dtype=np.uint8)).save(tmp_path / "coco" / part / f"{part}.jpg")
        content = {"images": [{**image, "file_name": f"{part}.jpg"}], "categories": categories}
        content["annotations"] = [square, crowd, behind]
        (tmp_path / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    manifest = import_photographs(tmp_path / "coco", tmp_path / "out", layout="coco")
    assert manifest.labels == {"background": 0, "car": 1, "toothbrush": 2}
    labels = read_labels(tmp_path / "out" / str(manifest.training[1].label)).labels[..., 0]
    assert labels.shape == (12, 8)
    assert labels[4, 3] == 2
    assert labels[8, 3] == 1
    assert labels[1, 3] == labels[4, 6] == 0
    assert labels[10, 6] == labels[10, 7] == 255
    assert np.count_nonzero(labels == 255) == 2


@pytest.mark.slow
def test_the_protocol_runs_on_a_folder_of_photographs(tmp_path: Path) -> None:
    import_photographs(voc(tmp_path / "VOC2012"), tmp_path / "out", layout="voc")
    words = [f"data.manifest={tmp_path / 'out' / 'manifest.json'}", "benchmark.folds={fold2: [dog]}", "benchmark.shots=[1]"]
    words += ["benchmark.draws=1", "training.max_minutes=null", "training.max_steps=30", "training.steps_per_epoch=30"]
    words += ["plan.patch_size=[32,32,1]", "plan.batch_size=4", "slice_network.encoder=tu-regnetx_002", "plan.mirror_axes=[]"]
    scores = run_benchmark(
        "fewshot/pascal_5i",
        overrides=words,
        out=tmp_path / "bench",
        runtime=Runtime("cpu", 0),
        tell=lambda text: None,
        rows=ROWS[:1],
    )
    assert set(scores["patient"]) == {"p6", "p7"}
    new = scores[scores["structure"] == "dog"]
    assert (new["intersection"].sum() / new["union"].sum()) > 0.3
    line = pooled_as_markdown(scores).splitlines()[-1]
    assert float(line.split("|")[3]) == pytest.approx(new["intersection"].sum() / new["union"].sum(), abs=1e-3)
