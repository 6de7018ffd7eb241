"""What a prediction would take, said before it is begun."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.cli import main
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.verbs.forecasting import forecast_prediction

pytestmark = pytest.mark.slow


def test_largest_case_is_named_and_bad_ones_too(tiny_run: RunFolder, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    image = np.random.default_rng(0).random((20, 20, 8)).astype(np.float32)
    write_nifti(tmp_path / "in" / "small.nii.gz", image, spacing=3.0)
    write_nifti(tmp_path / "in" / "large.nii", np.tile(image, (3, 3, 3)), spacing=3.0)
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"no image")
    found = forecast_prediction(tiny_run.model, [tmp_path / "in"], device="cpu")
    assert (found["cases"], set(found["unreadable"])) == (3, {"bad"})
    assert (found["largest"]["case"], found["largest"]["shape"]) == ("large", [60, 60, 24])
    assert found["peak_gb"] == pytest.approx(sum(found["largest"]["memory_gb"].values()), abs=0.02)
    assert found["network_minutes"] > 0
    parts = [forecast_prediction(tiny_run.model, [tmp_path / "in"], device="cpu", shard=(n, 3))["cases"] for n in (2, 3)]
    assert parts == [1, 1]
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(tmp_path / "in" / "small.nii.gz", "small.nii.gz")
        packed.writestr("letter.doc", "text")
    found = forecast_prediction(tiny_run.model, [tmp_path / "packed.zip"], device="cpu")
    assert (found["largest"]["case"], found["left_out"]) == ("packed/small", {"file ending in .doc": 1})
    with pytest.raises(SettingsError, match="at least one readable image, got none of 1"):
        forecast_prediction(tiny_run.model, [tmp_path / "in" / "bad.nii.gz"], device="cpu")


def test_dry_run_writes_nothing(tiny_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tiny_run.root / "cohort" / "images" / "phantom_0000.nii.gz"
    words = ["predict", str(tiny_run.model), str(image), "--out", str(tmp_path / "out"), "--dry-run", "--device", "cpu"]
    main_code = []
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        main_code.append(ended.value.code)
    out, err = capsys.readouterr()
    assert main_code == [0, 0]
    assert not (tmp_path / "out").exists()
    assert json.loads(out)["cases"] == 1
    assert "peak memory" in err
