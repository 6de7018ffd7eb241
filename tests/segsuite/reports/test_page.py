from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import Ledger, now
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import OutputError
from segsuite.reports.page import _legend, write_report
from segsuite.reports.viewer import viewer_script
from segsuite.verbs.evaluating import evaluate
from segsuite.verbs.judging import conventions


@pytest.mark.slow
class TestReportOfARun:
    def test_needs_no_network_and_no_other_file(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root).read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
        assert "http" not in re.sub(r"data:[^\"]+", "", text.replace(viewer_script(), ""))

    def test_shows_scores_curves_plan_cases_settings_and_versions(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root).read_text(encoding="utf-8")
        headings = (
            "Scores", "Spread", "Agreement of volumes", "Dice against volume", "Worst and best cases", "Viewer", "All cases",
            "Prediction", "Training", "Plan", "Settings", "Versions",
        )  # fmt: skip
        for heading in headings:
            assert f"<h2>{heading}</h2>" in text
        assert "peripheral_zone" in text
        assert json.loads((tiny_run.model / "model.json").read_text())["weights"]["sha256"] in text
        assert text.count("data:image/png") >= 4

    def test_without_images_no_voxel_is_shown(self, tiny_run: RunFolder, tmp_path: Path) -> None:
        shutil.copytree(tiny_run.evaluation, tmp_path / "evaluation")
        text = write_report(tmp_path, images=False).read_text(encoding="utf-8")
        assert "Worst and best cases" not in text
        assert "viewer-data" not in text
        assert text.count("data:image/png") == 3  # figures of numbers

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

    def test_in_a_browser_tables_sort_and_the_viewer_shows_a_slice(self, tiny_run: RunFolder, browse: Callable[..., Any]) -> None:
        script = """
            const column = () => [...document.querySelectorAll("#cases tbody tr")].map((row) => row.cells[0].textContent);
            const head = document.querySelector("#cases th.sort"); const before = column();
            head.click(); const up = column(); head.click(); const down = column();
            const box = document.querySelector("input[data-filter]"); box.value = up[0]; box.dispatchEvent(new Event("input"));
            const left = [...document.querySelectorAll("#cases tbody tr")].filter((row) => !row.hidden).length;
            return { before, up, down, left, shown: document.getElementById("viewer-state").dataset.shown };
        """
        seen = browse(write_report(tiny_run.root), script)
        assert seen.problems == []
        assert seen.found["up"] == sorted(seen.found["before"])
        assert seen.found["down"] == seen.found["up"][::-1]
        assert seen.found["left"] == 1
        assert seen.found["shown"] in seen.found["up"]
        assert seen.picture.std() > 0.05

    def test_page_keeps_to_its_size_and_says_what_is_left_out(self, tiny_run: RunFolder) -> None:
        text = write_report(tiny_run.root, most_megabytes=5.001).read_text(encoding="utf-8")
        assert "viewer-data" not in text
        assert "Left out, because the volumes of the page would be larger than 0 MB" in text
        assert len(write_report(tiny_run.root).read_bytes()) < 15e6

    def test_conventions_subgroups_and_calibration_are_shown_where_they_were_asked_for(
        self, cohort_folder: Path, tmp_path: Path
    ) -> None:
        labels = shutil.copytree(cohort_folder / "labels", tmp_path / "predictions")
        (labels / "phantom_0001.nii.gz").unlink()
        (tmp_path / "known.tsv").write_text("case\tsite\nphantom_0000\tA\nphantom_0001\tB\n")
        out, known = tmp_path / "evaluation", tmp_path / "known.tsv"
        evaluate(labels, cohort_folder / "manifest.json", out, by=["site"], attributes=known)
        conventions(out, ["monai"])
        (out / "calibration.csv").write_text(
            "case,label_name,bin,n_voxels,probability,positives\nphantom_0000,transition_zone,9,10,9.5,9\n"
        )
        text = write_report(tmp_path, images=False).read_text(encoding="utf-8")
        for heading in ("By site", "Can probabilities be believed?", "Under other tools' rules"):
            assert f"<h2>{heading}</h2>" in text
        assert "only 1 patients" in text
        assert "peripheral_zone is without a prediction: monai leaves it out" in text


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must hold a training, predictions or an evaluation"):
        write_report(tmp_path)


def test_an_evaluation_has_a_report_of_its_own_with_its_notes(cohort_folder: Path, tmp_path: Path) -> None:
    labels = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "p"))
    (labels / "labels.tsv").write_text("index\tname\n1\tone\n")
    references = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "r"))
    (references / "phantom_0000.nii.gz").write_bytes(b"damaged")
    evaluate(labels, references, tmp_path / "e")
    text = write_report(tmp_path / "e", images=False).read_text(encoding="utf-8")
    assert "1 without a usable reference (not counted)" in text
    assert "Note: the references do not name their labels: they bear the names of the predictions." in text
    assert "the reference cannot be used: " in text


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [("plan.json", "{", "plan"), ("versions.json", "\x00", "versions"), ("history.csv", "a,b\n1,2\n", "history")],
)
def test_a_part_that_was_damaged_is_named(tmp_path: Path, name: str, content: str, part: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(OutputError, match=rf"The {part} of .* must be as segsuite wrote it"):
        write_report(tmp_path)


def test_of_a_case_that_two_shards_wrote_of_the_later_line_counts(tmp_path: Path) -> None:
    case = InputCase("a", (tmp_path / "a.nii.gz",), "a.nii.gz")
    first = Ledger(tmp_path / "predictions", shard=(2, 2))
    first.folder.mkdir()
    first.put_down(case, "the node died")
    again = Ledger(first.folder, shard=(1, 2))
    again.append(replace(first.lines["a"], status="done", reason="", seconds=2.0, peak_memory_mb=5.0, time=now()))
    assert "1 of 1 cases done, median 2.00 s per case" in write_report(tmp_path).read_text(encoding="utf-8")


def test_integers_of_a_mask_are_called_after_the_smallest_region_that_they_are_in() -> None:
    rows = pd.DataFrame({"label_index": ["1+2+3", "2+3", "3"], "label_name": ["whole", "core", "enhancing"]})
    assert _legend(rows) == [(1, "whole"), (2, "core"), (3, "enhancing")]
    plain = pd.DataFrame({"label_index": [1, 4], "label_name": ["a", "b"]})
    assert _legend(plain) == [(1, "a"), (4, "b")]
