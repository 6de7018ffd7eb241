from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.audit import (
    _common_attributes,
    _overlap,
    _sites,
    audit_cohort,
    border_facts,
    near_duplicates,
    permuted_groups,
)
from pipelines.cohort_contrast.embedding import embed
from pipelines.cohort_contrast.judging import read_judged
from pipelines.cohort_contrast.predictor import load_predictor
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import train
from tests.pipelines.cohort_contrast.conftest import QUICK, two_groups


def test_the_same_picture_under_two_subjects_is_found() -> None:
    scans = two_groups(12)
    assert near_duplicates(scans) == []
    images = scans.images.copy()
    images[7] = images[1] * 1.1 + 0.05
    assert near_duplicates(replace(scans, images=images)) == [("c1", "c7")]


def test_borders_say_nothing_of_the_middle() -> None:
    scans = two_groups(4)
    images = scans.images.copy()
    images[:, :, 4:-4, 4:-4] += 3
    np.testing.assert_allclose(border_facts(replace(scans, images=images))[:, :-1], border_facts(scans)[:, :-1])


def test_permuted_groups_keep_subjects_whole_and_counts_equal() -> None:
    scans = two_groups(24)
    dealt = permuted_groups(scans, 1)
    of_subject: dict[str, set[bool]] = {}
    for subject, group in zip(dealt.subjects, dealt.is_diseased, strict=True):
        of_subject.setdefault(subject, set()).add(bool(group))
    assert all(len(groups) == 1 for groups in of_subject.values())
    assert (dealt.is_diseased != scans.is_diseased).any()


@pytest.mark.slow
def test_all_questions_are_asked_and_planted_faults_are_found(tmp_path: Path) -> None:
    run = train("cohort_contrast/phantom", overrides=QUICK, out=tmp_path / "run", runtime=Runtime(workers=0))
    predictor = load_predictor(run.model, device="cpu", overrides={})
    judged = read_judged(predictor, run.root / "cohort" / "manifest.json")
    spaces = embed(predictor.network, judged.scans)
    told: list[str] = []
    recipe, cpu = predictor.model.description, torch.device("cpu")
    checks = audit_cohort(judged.scans, judged.is_training, spaces, recipe, steps=2, seed=0, device=cpu, tell=told.append)
    found = {check.name: check for check in checks}
    assert found["subjects on both sides"].passed
    assert found["near-duplicates of different subjects"].passed
    assert {"permuted groups", "healthy against healthy", "site and group", "group from the border of the field"} <= set(found)
    assert found["age from the salient space"].meaning == "the score depends on age"
    assert "octant from the salient space" not in found, "that is what the diseased alone have"
    knows_age = replace(spaces, salient=np.c_[spaces.salient, judged.scans.attributes["age"] / 10])
    (planted,) = _common_attributes(judged.scans, knows_age, judged.is_training)
    assert not planted.passed
    leaked = replace(
        judged.scans, subjects=["one"] * len(judged.scans), sites=["X" if d else "Y" for d in judged.scans.is_diseased]
    )
    assert not _overlap(leaked, judged.is_training).passed
    assert not _sites(replace(leaked, subjects=judged.scans.subjects)).passed
