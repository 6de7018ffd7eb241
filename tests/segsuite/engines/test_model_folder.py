from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from segsuite.engines.model_folder import read_model_folder, write_ensemble, write_model_folder
from segsuite.errors import ModelError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3)}
DESCRIPTION = {"pipeline": "p", "labels": {"background": 0, "x": 1}, "preprocessing": {}, "channels": {"0": "t2"}}


def write(folder: Path, **more: object) -> Path:
    write_model_folder(folder, weights=WEIGHTS, description={**DESCRIPTION, **more}, card="# card")
    return folder


def test_weights_come_back(tmp_path: Path) -> None:
    model = read_model_folder(write(tmp_path / "m"))
    assert torch.equal(model.weights()["a.weight"], WEIGHTS["a.weight"])
    assert (model.pipeline, model.labels) == ("p", {"background": 0, "x": 1})
    assert (tmp_path / "m" / "README.md").read_text() == "# card"


def test_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    write(tmp_path / "run" / "model")
    assert read_model_folder(tmp_path / "run").path == tmp_path / "run" / "model"


def test_no_pickle_in_it(tmp_path: Path) -> None:
    write(tmp_path / "m")
    assert {path.suffix for path in (tmp_path / "m").iterdir()} == {".json", ".md", ".safetensors"}


class TestRefusals:
    def test_changed_weights(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m") / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(ModelError, match=r"must have the sha256 .* that model.json names, got .*changed or truncated"):
            read_model_folder(tmp_path / "m")

    def test_missing_weights(self, tmp_path: Path) -> None:
        (write(tmp_path / "m") / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="got no file"):
            read_model_folder(tmp_path / "m")

    def test_no_model_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="must be a model folder with model.json, got a folder without it"):
            read_model_folder(tmp_path)
        with pytest.raises(ModelError, match="got no such folder"):
            read_model_folder(tmp_path / "gone")

    def test_a_later_format(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m") / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
        with pytest.raises(ModelError, match="must have format 1, got 9"):
            read_model_folder(tmp_path / "m")

    @pytest.mark.parametrize("content", ['{"format": 1', "[]", "{}", '{"format": "one"}', "[" * 100_000])
    def test_a_description_that_is_none(self, tmp_path: Path, content: str) -> None:
        (write(tmp_path / "m") / "model.json").write_text(content)
        with pytest.raises(ModelError, match=r"model\.json must "):
            read_model_folder(tmp_path / "m")

    def test_members_that_do_not_fit(self, tmp_path: Path) -> None:
        members = [write(tmp_path / "a"), write(tmp_path / "b", labels={"background": 0, "y": 1})]
        with pytest.raises(ModelError, match="must agree in `labels`"):
            write_ensemble(tmp_path / "e", members, card="")


def test_ensemble_is_complete_by_itself_and_notices_a_changed_member(tmp_path: Path) -> None:
    members = [write(tmp_path / "a"), write(tmp_path / "b")]
    ensemble = write_ensemble(tmp_path / "e", members, card="")
    shutil.rmtree(tmp_path / "a")
    assert [read_model_folder(member).pipeline for member in ensemble.members] == ["p", "p"]
    write(ensemble.members[1], name="other")
    with pytest.raises(ModelError, match="got a changed one"):
        read_model_folder(tmp_path / "e")
