from __future__ import annotations

import csv
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.evaluation import EvaluatedCase, evaluate_pairs
from segsuite.engines.evaluation_tables import CALIBRATION_COLUMNS, CASE_COLUMNS, METRIC_COLUMNS, EvaluationTables
from segsuite.engines.pairing import Pairing, find_pairs
from segsuite.errors import OutputError
from segsuite.metrics.per_case import Scoring
from segsuite.metrics.probability import calibration_of

TABLES = ["cases.csv", "metrics_per_case.csv"]


@pytest.fixture
def pairing(cohort_folder: Path) -> Pairing:
    """References as their own predictions."""
    return find_pairs(cohort_folder / "labels", cohort_folder / "manifest.json")


def measured(pairing: Pairing) -> list[EvaluatedCase]:
    cases: list[EvaluatedCase] = []
    evaluate_pairs(pairing.pairs, Scoring(pairing.structures), on_case=cases.append)
    return cases


def opened(folder: Path, pairing: Pairing, **more: object) -> EvaluationTables:
    return EvaluationTables(folder, pairing.pairs, Scoring(pairing.structures), **more)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(folder: Path, pairing: Pairing, *, after: int) -> None:
    with suppress(KeyboardInterrupt), opened(folder, pairing) as tables:
        for case in measured(pairing)[:after]:
            tables.add(case)
        raise KeyboardInterrupt


def known_as_done(tables: EvaluationTables) -> set[str]:
    with suppress(KeyboardInterrupt), tables:
        raise KeyboardInterrupt
    return tables.done


def finish(folder: Path, pairing: Pairing) -> set[str]:
    """What was done before."""
    with opened(folder, pairing) as tables:
        for case in measured(pairing):
            if case.pair.case_id not in tables.done:
                tables.add(case)
        return tables.done


def test_columns_are_fixed_and_files_are_found_from_the_folder(pairing: Pairing, tmp_path: Path) -> None:
    finish(tmp_path / "e", pairing)
    assert names(tmp_path / "e") == TABLES
    metrics, cases = rows(tmp_path / "e" / "metrics_per_case.csv"), rows(tmp_path / "e" / "cases.csv")
    assert tuple(metrics[0]) == METRIC_COLUMNS
    assert metrics[0]["patient_id"] == "P0000"
    assert {row["unit"] for row in metrics} == {"1", "mm", "ml", "%"}
    assert tuple(cases[0]) == CASE_COLUMNS
    assert all((tmp_path / "e" / row[key]).is_file() for row in cases for key in ("reference", "predicted", "image"))


def test_attributes_become_columns_and_bins_a_table(pairing: Pairing, tmp_path: Path) -> None:
    case = measured(pairing)[0]
    bins = {"gland": calibration_of(np.array([0.05, 0.95, 0.97]), np.array([False, True, False]))}
    described = EvaluatedCase(case.pair, case.measurements, case.diagonal_mm, calibrations=bins)
    case.pair.attributes["site"] = "A"  # type: ignore[index]
    with opened(tmp_path / "e", pairing, attributes=["site"], probabilities=True) as tables:
        tables.add(described)
    assert rows(tmp_path / "e" / "cases.csv")[0]["site"] == "A"
    calibration = rows(tmp_path / "e" / "calibration.csv")
    assert tuple(calibration[0]) == CALIBRATION_COLUMNS
    assert [row["n_voxels"] for row in calibration] == ["1"] + ["0"] * 8 + ["2"]
    assert (calibration[-1]["probability"], calibration[-1]["positives"]) == ("1.92", "1")


def test_bins_of_an_earlier_evaluation_do_not_stay(pairing: Pairing, tmp_path: Path) -> None:
    with opened(tmp_path / "e", pairing, probabilities=True):
        pass
    assert (tmp_path / "e" / "calibration.csv").is_file()
    finish(tmp_path / "e", pairing)
    assert names(tmp_path / "e") == TABLES


def test_what_was_interrupted_has_no_name_and_goes_on(pairing: Pairing, tmp_path: Path) -> None:
    interrupt(tmp_path / "e", pairing, after=2)
    assert all(name.startswith(".") for name in names(tmp_path / "e"))
    assert finish(tmp_path / "e", pairing) == {pair.case_id for pair in pairing.pairs[:2]}
    finish(tmp_path / "whole", pairing)
    for name in TABLES:
        resumed, whole = ((tmp_path / folder / name).read_text() for folder in ("e", "whole"))
        assert resumed == whole.replace("../whole", "../e")
    assert names(tmp_path / "e") == TABLES


def test_half_a_row_of_a_killed_process_is_measured_again(pairing: Pairing, tmp_path: Path) -> None:
    """The rows of the third case are in the table, its line in the journal is not."""
    interrupt(tmp_path / "e", pairing, after=3)
    journal = tmp_path / "e" / ".evaluated.partial"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]) + lines[-1][:7])
    assert len(finish(tmp_path / "e", pairing)) == 2
    found = [row["case"] for row in rows(tmp_path / "e" / "metrics_per_case.csv")]
    assert len(found) == len(pairing.pairs) * len(measured(pairing)[0].measurements)


def test_another_mask_or_another_scoring_is_measured_again(pairing: Pairing, tmp_path: Path) -> None:
    interrupt(tmp_path / "e", pairing, after=2)
    first = pairing.pairs[0].predicted
    assert first is not None
    status = first.stat()
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert known_as_done(opened(tmp_path / "e", pairing)) == {pairing.pairs[1].case_id}
    assert not known_as_done(EvaluationTables(tmp_path / "e", pairing.pairs, Scoring(pairing.structures, (3.0,))))


def test_a_folder_in_the_place_of_a_table_is_named(pairing: Pairing, tmp_path: Path) -> None:
    (tmp_path / ".cases.csv.partial").mkdir()
    with pytest.raises(OutputError, match=r"cases.csv must be writable, got: Is a directory"):
        opened(tmp_path, pairing)


def test_two_evaluations_do_not_write_into_one_folder_at_a_time(pairing: Pairing, tmp_path: Path) -> None:
    """The first to end would give its name to a table of the second that is not complete."""
    with opened(tmp_path / "e", pairing), pytest.raises(OutputError, match="Another evaluation writes into .* now"):
        opened(tmp_path / "e", pairing)
    finish(tmp_path / "e", pairing)
    assert names(tmp_path / "e") == TABLES
