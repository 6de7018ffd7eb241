"""The words around a model folder, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segsuite.cli import main
from segsuite.verbs import accelerating


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_no_model_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", str(tmp_path), "--out", str(tmp_path / "o")) == 1
    assert "must be a model folder" in capsys.readouterr().err


def test_words_show_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"dice": 0.9, "hd95": 2.0, "dice_lost": 0.003, "hd95_share": 0.02, "accepted": False, "version": "1"}
    row |= {"worst_structure": "spleen", "worst_dice_lost": 0.0123}
    asked = {}

    def found(model: Path, manifest: Path, **how: Any) -> dict[str, Any]:
        asked.update(how)
        return {"model": {"torch/float32": {**row, "accepted": True}, "openvino/float32": row}}

    monkeypatch.setattr(accelerating, "accelerate", found)
    (tmp_path / "M.json").write_text("{}")
    words = ["accelerate", "model", "--manifest", str(tmp_path / "M.json"), "--cases", "3", "--fold", "1"]
    assert run(*words) == 0
    assert (asked["n_cases"], asked["fold"]) == (3, 1)
    shown = capsys.readouterr().err
    for word in ("openvino/float32", "0.0030", "0.0123 spleen", "+2.00%", "accepted", "rejected"):
        assert word in shown
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["openvino/float32"] == row
