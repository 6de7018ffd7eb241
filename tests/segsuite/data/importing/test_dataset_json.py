from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segsuite.data.importing.dataset_json import has_listed_cases, import_listed, import_raw
from segsuite.data.importing.found import Imported, ImportOptions
from segsuite.errors import Advice, ManifestError

Touch = Callable[..., Path]
LABELS = {"background": 0, "shell": 1, "core": 2}


def described(folder: Path, encoding: str = "utf-8", **content: Any) -> Path:
    facts = {"channel_names": {"0": "T2"}, "labels": LABELS, "file_ending": ".nii.gz", **content}
    (folder / "dataset.json").write_bytes(json.dumps(facts, ensure_ascii=False).encode(encoding))
    return folder


def rows(imported: Imported) -> list[tuple[tuple[str, ...], str | None]]:
    return [(case.images, case.label) for case in imported.manifest.training]


def told(imported: Imported) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.subjects for finding in imported.findings}


class TestRaw:
    def test_channels_labels_and_ignore(self, touch: Touch) -> None:
        files = [f"imagesTr/{c}_{n:04d}.nii.gz" for c in "ab" for n in (0, 1)]
        folder = touch(*files, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "imagesTs/t_0000.nii.gz", "imagesTs/t_0001.nii.gz")
        described(folder, channel_names={"0": "T2", "1": "ADC"}, labels={"background": 0, "x": 1, "ignore": 2}, licence="CC0")
        imported = import_raw(folder, ImportOptions())
        assert rows(imported)[0] == (("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"), "labelsTr/a.nii.gz")
        manifest = imported.manifest
        assert (manifest.labels, manifest.ignore_label, len(manifest.test)) == ({"background": 0, "x": 1}, 2, 1)
        assert manifest.licence == "CC0"
        assert told(imported) == {}

    def test_a_missing_modality_is_said_by_case_and_name(self, touch: Touch) -> None:
        folder = touch("imagesTr/a_0000.nii.gz", "imagesTr/a_0002.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/a.nii.gz")
        imported = import_raw(described(folder, channel_names={"0": "T2", "1": "ADC"}), ImportOptions())
        text = " ".join(str(finding) for finding in imported.findings if finding.severity == "error")
        assert "a. Each case must have the channels _0000 (T2), _0001 (ADC); _0001 (ADC) not there and _0002 not declared" in text
        assert "b. Each case must have the channels _0000 (T2), _0001 (ADC); _0000 (T2) not there" in text
        assert [case.case_id for case in imported.manifest.training] == ["a", "b"]  # checking says what is missing again

    def test_what_has_no_partner_or_another_ending_is_told(self, touch: Touch) -> None:
        folder = touch(
            "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/z.nii.gz", "imagesTr/c_0000.mha"
        )
        assert told(import_raw(described(folder), ImportOptions())) == {
            "files of another ending": ("imagesTr/c_0000.mha",),
            "images without a mask": ("b",),
            "masks without an image": ("labelsTr/z.nii.gz",),
        }

    def test_another_place_is_said(self, touch: Touch) -> None:
        with pytest.raises(ManifestError, match="must hold imagesTr/<case>_0000 .*got neither.*--layout folder"):
            import_raw(described(touch("a.nii.gz")), ImportOptions())

    def test_labels_by_integer_and_regions(self, touch: Touch) -> None:
        folder = touch("imagesTr/a_0000.nii.gz")
        described(folder, labels={"0": "background", "2": "core", "1": "shell"})
        assert import_raw(folder, ImportOptions()).manifest.labels == {"background": 0, "core": 2, "shell": 1}
        described(folder, labels={"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1, 2])
        assert import_raw(folder, ImportOptions()).manifest.regions == {"whole": [1, 2], "core": [2]}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"labels": ["a"]}, "`labels` must name each label by its integer, got list"),
            ({"labels": {"0": "background", "1": "x", "2": "x"}}, "a name of its own, got `x` twice"),
            ({"labels": {"background": 0, "x": "one"}}, "label `x` must be an integer"),
            ({"channel_names": {"1": "T2"}}, r"channels must be numbered from 0 on, got \['1'\]"),
        ],
    )
    def test_what_is_wrong_is_named(self, touch: Touch, content: dict[str, Any], message: str) -> None:
        with pytest.raises(ManifestError, match=message):
            import_raw(described(touch("imagesTr/a_0000.nii.gz"), **content), ImportOptions())


class TestListed:
    def test_decathlon(self, touch: Touch) -> None:
        folder = touch("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t.nii.gz")
        training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
        described(
            folder, labels={"0": "background", "1": "x"}, modality={"0": "MRI"}, training=training, test=["./imagesTs/t.nii.gz"]
        )
        imported = import_listed(folder, ImportOptions())
        assert rows(imported) == [(("imagesTr/a.nii.gz",), "labelsTr/a.nii.gz")]
        assert [case.images for case in imported.manifest.test] == [("imagesTs/t.nii.gz",)]

    def test_nnunet_1_lists_names_without_the_channel(self, touch: Touch) -> None:
        folder = touch(*(f"imagesTr/{c}_{n:04d}.nii.gz" for c in "ab" for n in (0, 1)), "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
        training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "ab"]
        described(folder, channel_names=None, modality={"0": "T2", "1": "ADC"}, training=training)
        imported = import_listed(folder, ImportOptions())
        assert rows(imported)[1] == (("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz"), "labelsTr/b.nii.gz")
        assert [case.case_id for case in imported.manifest.training] == ["a", "b"]
        (folder / "imagesTr" / "b_0001.nii.gz").unlink()
        assert told(import_listed(folder, ImportOptions())) == {"wrong channels": ("b",)}

    @pytest.mark.parametrize("as_list", [False, True])
    def test_nnunet_2_says_where_each_case_lies(self, touch: Touch, as_list: bool) -> None:
        table: Any = {f"p{n}": {"images": [f"raw\\p{n}\\t2.nii.gz"], "label": f"raw/p{n}/gt.nii.gz"} for n in range(3)}
        folder = touch(*(f"raw/p{n}/{name}.nii.gz" for n in range(3) for name in ("t2", "gt")))
        if as_list:
            table = [{"case_id": name, **row} for name, row in table.items()]
        assert has_listed_cases(described(folder, dataset=table))
        imported = import_listed(folder, ImportOptions())
        assert rows(imported)[2] == (("raw/p2/t2.nii.gz",), "raw/p2/gt.nii.gz")
        assert [case.case_id for case in imported.manifest.training] == ["p0", "p1", "p2"]

    def test_the_number_of_the_only_channel_is_no_part_of_the_name(self, touch: Touch) -> None:
        folder = touch("imagesTr/s_0_0000.nii.gz", "labelsTr/s_0.nii.gz", "imagesTr/u_0000.nii.gz")
        rows = [{"images": ["imagesTr/s_0_0000.nii.gz"], "label": "labelsTr/s_0.nii.gz"}, {"images": ["imagesTr/u_0000.nii.gz"]}]
        imported = import_listed(described(folder, dataset=rows), ImportOptions())
        assert [case.case_id for case in imported.manifest.training] == ["s_0", "u_0000"]

    def test_one_name_in_several_folders_needs_no_ids(self, touch: Touch) -> None:
        rows = [{"image": f"P{n}/t2.nii", "mask": f"P{n}/m.nii"} for n in (1, 2)]
        imported = import_listed(
            described(touch("P1/t2.nii", "P2/t2.nii", "P1/m.nii", "P2/m.nii"), training=rows), ImportOptions()
        )
        assert [(c.case_id, c.patient_id, c.label) for c in imported.manifest.training] == [
            ("P1_t2", "P1_t2", "P1/m.nii"),
            ("P2_t2", "P2_t2", "P2/m.nii"),
        ]

    def test_a_misspelt_key_is_no_case_without_a_label(self, touch: Touch) -> None:
        with pytest.raises(ManifestError, match=r"key `lable` of `training` is unknown.*Did you mean `label`\?"):
            import_listed(described(touch("a.nii"), training=[{"image": "a.nii", "lable": "m.nii"}]), ImportOptions())

    def test_another_number_of_files_than_channels(self, touch: Touch) -> None:
        folder = described(touch("a.nii", "b.nii"), training=[{"image": ["a.nii", "b.nii"]}])
        assert told(import_listed(folder, ImportOptions())) == {"wrong number of channels": ("a",)}

    def test_validation_is_a_fold_and_never_dropped(self, touch: Touch) -> None:
        folder = described(touch("a.nii", "b.nii"), training=[{"image": "a.nii"}], validation=[{"image": "b.nii"}])
        training, held_out = import_listed(folder, ImportOptions()).manifest.split(0, labelled=False)
        assert ([c.case_id for c in training], [c.case_id for c in held_out]) == (["a"], ["b"])

    def test_files_that_are_not_there_are_told(self, touch: Touch) -> None:
        folder = described(touch("a.nii"), training=[{"image": "a.nii", "label": "m/a.nii"}, {"image": "b.nii"}])
        imported = import_listed(folder, ImportOptions())
        assert told(imported) == {"files that are not there": ("m/a.nii", "b.nii")}
        assert imported.findings[0].severity == "error"

    @pytest.mark.parametrize("row", [3, {}, {"image": None}, {"image": [1]}, {"image": "a.nii", "label": 3}, ["a.nii"]])
    def test_rows_of_another_kind_are_shown(self, touch: Touch, row: Any) -> None:
        with pytest.raises(ManifestError, match="each of `training` must be a file name, or an object"):
            import_listed(described(touch("a.nii"), training=[row]), ImportOptions())

    def test_lists_that_are_none(self, touch: Touch) -> None:
        with pytest.raises(ManifestError, match="`training` must be a list of cases, got str"):
            import_listed(described(touch("a.nii"), training="a.nii"), ImportOptions())


def test_what_windows_editors_save(touch: Touch) -> None:
    folder = touch("imagesTr/a_0000.nii.gz")
    assert import_raw(described(folder, "utf-8-sig", licence="Universität"), ImportOptions()).manifest.licence == "Universität"
    with pytest.warns(Advice, match="not UTF-8"):
        assert import_raw(described(folder, "latin-1", licence="Universität"), ImportOptions()).manifest.licence == "Universität"
