from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cohort_contrast.commands import app
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import train
from tests.pipelines.cohort_contrast.conftest import QUICK


@pytest.mark.slow
def test_every_word_runs_on_a_trained_cohort(tmp_path: Path) -> None:
    run = train("cohort_contrast/phantom", overrides=QUICK, out=tmp_path / "run", runtime=Runtime(workers=0))
    manifest = str(run.root / "cohort" / "manifest.json")

    def say(*words: str) -> str:
        found = CliRunner().invoke(app, [*words])
        assert found.exit_code in (0, 2), found.output
        return found.stdout

    assert "scored" in say("score", str(run.root), manifest, "--out", str(tmp_path / "scores"))
    assert "largest t" in say(
        "map", str(run.root), manifest, "--out", str(tmp_path / "maps"), "--kind", "occlusion", "--permutations", "20"
    )
    probes = json.loads(say("probe", str(run.root), manifest, "--attributes", "age,site", "--json"))
    assert set(probes) == {"age", "site"}
    assert "chance" in say("probe", str(run.root), manifest, "--attributes", "site")
    checks = json.loads(say("audit", str(run.root), manifest, "--steps", "2", "--json"))
    assert {check["name"] for check in checks} >= {"permuted groups", "site and group"}
    assert "report.html" in say("report", str(run.root))


def test_words_explain_themselves() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert all(word in text for word in ("score", "map", "probe", "audit", "report"))
