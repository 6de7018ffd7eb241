"""Accepted engines are used by themselves and leave masks as they are; a bad one is rejected and never used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segsuite.cli import main
from segsuite.engines import backends, devices
from segsuite.engines.backends import INT8_FILE, NETWORK_FILE, TABLE_FILE, Backend
from segsuite.engines.ledger import read_ledger
from segsuite.engines.model_folder import read_model_folder, write_ensemble
from segsuite.engines.prediction import Outcome
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError, ModelError, OutputError, SettingsError
from segsuite.files import hash_of_file
from segsuite.pipeline import Runtime
from segsuite.verbs import accelerating
from segsuite.verbs.accelerating import EXAMPLE_CASES, Scores, accelerate, export, judge, show_backends
from segsuite.verbs.predicting import open_predictor, predict
from segsuite.verbs.runs import train
from segsuite.volumes.reading import read_channels, read_labels

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="needs the extra: pip install 'segsuite[openvino]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def model(tiny_run: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.model, tmp_path / "model"))


@pytest.fixture(scope="module")
def exported(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's file, made once."""
    return export(tiny_run.model, tmp_path_factory.mktemp("exported"))


@pytest.fixture
def quick_export(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file again, without making it."""

    def copy(network: object, path: Path, *, n_channels: int, patch_size: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(exported, path)

    monkeypatch.setattr(accelerating, "export_onnx", copy)


@pytest.fixture
def lenient_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of a few steps has voxels on the brink: what rounding does to its masks is no matter of the third digit."""
    for limit in ("MOST_DICE_LOST", "MOST_HD95_SHARE", "MOST_LOST_BY_ONE"):
        monkeypatch.setattr(accelerating, limit, 0.5)


@pytest.fixture
def fast_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this processor is said to compute bfloat16 in hardware, whatever it is."""
    for module in (backends, devices):
        monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: request.param)
    return bool(request.param)


either_processor = pytest.mark.parametrize("fast_bfloat16", [False, True], indirect=True, ids=["no bfloat16", "bfloat16"])


def scores(*dice: float, hd95: float = 2.0) -> Scores:
    return Scores(sum(dice) / len(dice), hd95, {f"s{n}": value for n, value in enumerate(dice)})


@pytest.mark.parametrize(
    ("others", "accepted"),
    [
        (scores(*[0.8] * 10, hd95=2.019), True),
        (scores(*[0.8] * 10, hd95=2.021), False),
        (scores(*[0.7981] * 10), True),
        (scores(*[0.7979] * 10), False),
        (scores(0.791, *[0.8] * 9), True),
        (scores(0.789, *[0.8] * 9), False),  # the mean falls by 0.0011 only
        (scores(*[0.9] * 10, hd95=1.0), True),
    ],
)
def test_limits_of_the_gate(others: Scores, accepted: bool) -> None:
    rows = judge({"torch/float32": scores(*[0.8] * 10), "openvino/float32": others})
    assert rows["torch/float32"]["accepted"]
    assert rows["openvino/float32"]["accepted"] is accepted


def test_the_structure_that_loses_most_is_named() -> None:
    row = judge({"torch/float32": scores(0.8, 0.7), "openvino/float32": scores(0.9, 0.6)})["openvino/float32"]
    assert (row["worst_structure"], row["worst_dice_lost"], row["dice_lost"]) == ("s1", 0.1, 0.0)


def test_a_structure_that_only_the_reference_invents_is_no_loss() -> None:
    found = {"torch/float32": Scores(0.4, 9.0, {"a": 0.8, "b": 0.0}), "openvino/float32": Scores(0.8, 2.0, {"a": 0.8})}
    assert judge(found)["openvino/float32"]["accepted"]


@pytest.fixture
def manifest(tiny_run: RunFolder) -> Path:
    return tiny_run.root / "cohort" / "manifest.json"


@either_processor
@pytest.mark.usefixtures("quick_export", "lenient_gate")
def test_accepted_engines_give_the_same_masks(model: Path, manifest: Path, tmp_path: Path, fast_bfloat16: bool) -> None:
    before = read_model_folder(model).sha256
    found = accelerate(model, manifest, n_cases=2)[str(model)]
    in_float32 = {"torch/float32", "onnxruntime/float32", "openvino/float32"}
    in_bfloat16 = {"torch/bfloat16", "openvino/bfloat16"} if fast_bfloat16 else set()
    assert set(found) == in_float32 | in_bfloat16 | {"openvino/int8"}
    assert all(found[name]["accepted"] for name in in_float32)
    table = json.loads((model / TABLE_FILE).read_text())
    assert (table["backends"], len(table["cases"])) == (found, 2)
    held_out = json.loads((model / "model.json").read_text())["data"]["held_out_cases"]
    assert set(table["cases"]) <= set(held_out)
    assert read_model_folder(model).sha256 == before, "what was predicted before need not be predicted again"
    masks = []
    for backend in ("torch/float32", "onnxruntime", "openvino", "auto"):
        out = tmp_path / backend.replace("/", "_")
        outcome = predict(model, [manifest], out, fold=0, overrides=(f"backend={backend}",), device="cpu")
        assert outcome.n_done == 2
        masks.append([read_labels(path).labels for path in sorted(out.glob("*.nii.gz"))])
    chosen = outcome.computed_by.removesuffix(" on cpu")
    assert found[chosen]["accepted"]
    for others in masks[1 : None if chosen in in_float32 else -1]:
        for mine, reference in zip(others, masks[0], strict=True):
            assert np.mean(mine != reference) < 1e-3


@pytest.mark.usefixtures("quick_export")
def test_int8_learns_ranges_from_cases_it_is_not_judged_by(
    model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[Path]()
    monkeypatch.setattr(accelerating, "read_channels", lambda paths: read.extend(paths) or read_channels(paths))
    found = accelerate(model, manifest, n_cases=1)[str(model)]
    table = json.loads((model / TABLE_FILE).read_text())
    assert 1 < len(read) <= EXAMPLE_CASES
    assert not [path for path in read if table["cases"][0] in path.name]
    assert table["int8_sha256"] == hash_of_file(model / INT8_FILE)
    assert found["openvino/int8"]["dice_lost"] < 0.1, "rounding costs little, also where it is too much for the gate"
    masks, hashes, told = [], set[str](), dict[str, str]()
    for backend in ("torch", "openvino", "openvino/int8"):
        out = tmp_path / backend.replace("/", "_")
        assert predict(model, [manifest], out, fold=0, overrides=(f"backend={backend}",), device="cpu").n_done == 2
        masks.append([read_labels(path).labels for path in sorted(out.glob("*.nii.gz"))])
        hashes.add(open_predictor(model, device="cpu", overrides=(f"backend={backend}",), threads=None).sha256)
        (told[out.name],) = {line.computed_by for line in read_ledger(out).values()}
    share = np.mean([np.mean(mine != reference) for mine, reference in zip(masks[2], masks[0], strict=True)])
    assert 0 < share < 0.05
    assert list(told.values()) == [f"{name} on cpu" for name in ("torch/float32", "openvino/float32", "openvino/int8")]
    assert len(hashes) == 2, "what float32 did is not taken for what int8 would do"


@either_processor
@pytest.mark.usefixtures("quick_export", "lenient_gate")
def test_a_node_of_another_kind_does_not_begin_from_the_start(
    model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_bfloat16: bool
) -> None:
    def outcome(*overrides: str) -> Outcome:
        return predict(model, [manifest], tmp_path / "out", fold=0, overrides=("precision=auto", *overrides), device="cpu")

    accelerate(model, manifest, n_cases=1)
    monkeypatch.setattr(backends, "_fastest", lambda allowed, *_: allowed[-1])
    first = outcome()
    assert (first.n_done, first.computed_by.partition("/")[0]) == (2, "openvino")
    shutil.rmtree(model / "backends")
    again = outcome()
    usual = "torch/bfloat16" if fast_bfloat16 else "torch/float32"
    assert (again.n_done, again.n_skipped, again.computed_by) == (0, 2, f"{usual} on cpu")
    assert outcome("backend=torch").n_done == 2, "who asks for one gets that one's masks"


@pytest.mark.usefixtures("quick_export")
def test_a_network_that_cannot_be_quantised_is_accelerated_without(
    model: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("The network must be one that can be quantised, got another.")

    (model / INT8_FILE).parent.mkdir()
    (model / INT8_FILE).write_bytes(b"of last time")
    monkeypatch.setattr(accelerating, "quantise_onnx", refuse)
    told = list[str]()
    found = accelerate(model, manifest, n_cases=1, on_step=told.append)[str(model)]
    assert "openvino/float32" in found
    assert "openvino/int8" not in found
    assert not (model / INT8_FILE).exists()
    assert [text for text in told if "no int8. The network must be one" in text]


@pytest.mark.usefixtures("quick_export")
def test_an_engine_with_other_masks_is_rejected(
    model: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(path: str, precision: str) -> backends.Forward:
        return lambda image: torch.rand(len(image), 5, *image.shape[2:], generator=torch.Generator().manual_seed(0))

    monkeypatch.setattr(backends, "_openvino", wrong)
    found = accelerate(model, manifest, n_cases=1)[str(model)]
    assert found["onnxruntime/float32"]["accepted"]
    assert not found["openvino/float32"]["accepted"]
    for module in (backends, accelerating):
        monkeypatch.setattr(module, "pass_seconds", lambda forward, shape, dtype: 0.0 if "wrong" in str(forward) else 1.0)
    rows = {row["backend"]: row for row in show_backends(model)}
    assert rows["openvino/float32"]["judged"] == "rejected"
    assert [name for name, row in rows.items() if row["chosen"]] != ["openvino/float32"]
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--model", str(model)])
    assert not ended.value.code
    assert "rejected" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_export")
def test_members_of_an_ensemble_are_judged_each(model: Path, manifest: Path, tmp_path: Path) -> None:
    write_ensemble(tmp_path / "both", [model, model], card="")
    found = accelerate(tmp_path / "both", manifest, fold=1, n_cases=1)
    assert [Path(path).name for path in found] == ["0", "1"]
    predictor = open_predictor(tmp_path / "both", device="cpu", overrides=("backend=openvino",), threads=None)
    assert [predictor.backend(member).engine for member in predictor.members] == ["openvino"] * 2  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="must be one model, got an ensemble"):
        export(tmp_path / "both", tmp_path / "exported")


@pytest.mark.usefixtures("quick_export")
def test_exported_folder_is_complete(model: Path, exported: Path, tmp_path: Path) -> None:
    assert exported.name == "network.onnx"
    assert export(model, tmp_path / "b", file_format="openvino").with_suffix(".bin").is_file()
    for folder in (exported.parent, tmp_path / "b"):
        assert json.loads((folder / "model.json").read_text())["preprocessing"]
    assert not (model / NETWORK_FILE).exists()
    with pytest.raises(SettingsError, match="--format must be one of"):
        export(model, tmp_path / "c", file_format="tflite")


def test_another_model_is_not_lost_to_an_export(model: Path, exported: Path) -> None:
    before = {path.name: path.read_bytes() for path in exported.parent.iterdir()}
    assert export(model, exported.parent) == exported, "an earlier export of the same model is its own"
    description = json.loads((exported.parent / "model.json").read_text())
    (exported.parent / "model.json").write_text(json.dumps({**description, "name": "another"}))
    with pytest.raises(OutputError, match=r"no file of another model, got network\.onnx, model\.json"):
        export(model, exported.parent)
    assert json.loads((exported.parent / "model.json").read_text())["name"] == "another"
    (exported.parent / "model.json").write_bytes(before["model.json"])


@pytest.mark.usefixtures("quick_export")
def test_cases_without_any_structure_judge_nothing(model: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"structures": {"a": {"dice": {"mean": None}}}, "mean": {"dice": None, "hd95": None}}
    monkeypatch.setattr(accelerating, "evaluate", lambda *_: SimpleNamespace(summary=nothing))
    with pytest.raises(ManifestError, match="must show a structure, got none in them or in their masks"):
        accelerate(model, manifest, n_cases=1)
    assert not (model / TABLE_FILE).exists()


@pytest.mark.usefixtures("quick_export")
def test_a_model_of_regions_is_judged_by_its_regions(
    tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a manifest that declares none, if it has the same labels."""
    monkeypatch.setattr(accelerating, "backends_here", lambda: [Backend("torch")])
    monkeypatch.setattr(accelerating, "_export_int8", lambda *_: None)
    overrides = [*tiny_overrides, "training.max_steps=1"]
    run = train("supervised/regions_phantom", overrides=overrides, out=tmp_path / "run", runtime=Runtime(device="cpu", workers=0))
    manifest = run.root / "cohort" / "manifest.json"
    content = json.loads(manifest.read_text())
    regions = content.pop("regions")
    del content["regions_class_order"]
    manifest.write_text(json.dumps(content))
    (rows,) = accelerate(run.model, manifest, n_cases=1).values()
    assert rows["torch/float32"]["worst_structure"] in regions


def test_cases_to_judge_by_must_be_there(model: Path, manifest: Path, edit_manifest: Callable[..., Path]) -> None:
    with pytest.raises(ManifestError, match="must hold labelled cases of fold 9, got none"):
        accelerate(model, manifest, fold=9)
    unlabelled = edit_manifest(manifest, lambda case: {**case, "label": None})
    with pytest.raises(ManifestError, match="must hold labelled cases"):
        accelerate(model, unlabelled)


@pytest.fixture
def edit_manifest(tmp_path: Path) -> Callable[..., Path]:
    def edit(path: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> Path:
        content = json.loads(path.read_text())
        content["data_root"] = str((path.parent / (content.get("data_root") or ".")).resolve())
        content["training"] = [change(case) for case in content["training"]]
        (tmp_path / "edited.json").write_text(json.dumps(content))
        return tmp_path / "edited.json"

    return edit
