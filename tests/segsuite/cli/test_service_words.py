"""What the word refuses before it opens anything; what it does is tested as a process in ``service``."""

from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.cli import main
from segsuite.engines.run_folder import RunFolder


def test_no_model_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(tmp_path)])
    assert ended.value.code == 1
    assert "must be a model folder" in capsys.readouterr().err


@pytest.mark.slow
def test_others_need_a_token(tiny_run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGSUITE_TOKEN", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(tiny_run.model), "--host", "0.0.0.0"])
    assert ended.value.code == 1
    assert "must have a token, got none" in capsys.readouterr().err
