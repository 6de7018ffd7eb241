"""A model opens without what only training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.supervised.predictor import load_predictor
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError

pytestmark = pytest.mark.slow


def test_opens_its_own_models_only(tiny_run: RunFolder, tmp_path: Path) -> None:
    predictor = load_predictor(tiny_run.model, device="cpu", overrides={})
    assert predictor.n_channels == 1
    with pytest.raises(ModelError, match="must be a model folder"):
        load_predictor(tmp_path, device="cpu", overrides={})


def test_opening_loads_neither_lightning_nor_monai(tiny_run: RunFolder) -> None:
    program = (
        "import sys; from pathlib import Path; from segsuite.verbs.predicting import open_predictor;"
        f"open_predictor(Path({str(tiny_run.model)!r}), device='cpu', overrides=(), threads=1);"
        "print([name for name in ('monai', 'pytorch_lightning', 'pandas', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
