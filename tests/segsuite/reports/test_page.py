from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.errors import OutputError
from segsuite.reports.page import write_report


@pytest.mark.slow
class TestReportOfARun:
    def test_needs_no_network_and_no_other_file(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root).read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
        assert "http" not in re.sub(r"data:[^\"]+", "", text)

    def test_shows_scores_curves_plan_cases_settings_and_versions(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root).read_text(encoding="utf-8")
        for heading in ("Scores", "Worst and best cases", "All cases", "Prediction", "Training", "Plan", "Settings", "Versions"):
            assert f"<h2>{heading}</h2>" in text
        assert "peripheral_zone" in text
        assert text.count("data:image/png") >= 4

    def test_without_images_no_voxel_is_shown(self, tiny_run: RunFolder, tmp_path: Path) -> None:
        shutil.copytree(tiny_run.evaluation, tmp_path / "evaluation")
        text = write_report(tmp_path, images=False).read_text(encoding="utf-8")
        assert "Worst and best cases" not in text
        assert text.count("data:image/png") == 1  # the box plots

    def test_every_case_is_a_row_worst_first(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root).read_text(encoding="utf-8")
        body = text[text.index("<tbody>") : text.index("</tbody>")]
        cases = re.findall(r"<tr><td>([^<]+)</td>", body)
        assert sorted(cases) == sorted(path.name.removesuffix(".nii.gz") for path in tiny_run.predictions.glob("*.nii.gz"))
        dice = [[float(v) for v in re.findall(r'data-value="([^"]+)"', row)[:4]] for row in body.split("</tr>")[:-1]]
        assert [sum(row) for row in dice] == sorted(sum(row) for row in dice)

    def test_failures_are_shown_with_their_reasons(self, tiny_run: RunFolder, tmp_path: Path) -> None:
        shutil.copytree(tiny_run.evaluation, tmp_path / "evaluation")
        cases = (tmp_path / "evaluation" / "cases.csv").read_text().splitlines()
        cases[1] = cases[1].rstrip(",") + ',"no prediction of this name <b>"'
        (tmp_path / "evaluation" / "cases.csv").write_text("\n".join(cases))
        text = write_report(tmp_path).read_text(encoding="utf-8")
        assert "no prediction of this name &lt;b&gt;" in text


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must hold a training, predictions or an evaluation"):
        write_report(tmp_path)
