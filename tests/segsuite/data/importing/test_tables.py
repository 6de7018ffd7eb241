from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segsuite.data.importing.found import Imported
from segsuite.data.importing.tables import import_table
from segsuite.errors import Advice, ManifestError

Touch = Callable[..., Path]


def read(folder: Path, text: str, encoding: str = "utf-8") -> Imported:
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return import_table(folder / "t.csv")


def rows(imported: Imported) -> list[tuple[str, str | None]]:
    return [(case.images[0], case.label) for case in imported.manifest.training]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,label\nd/a.nii,d/m.nii\n", "utf-8"),
        ("image;label\r\nd/a.nii;d/m.nii\r\n", "utf-8-sig"),
        ("image\tlabel\nd/a.nii\td/m.nii\n", "utf-8"),
        ("image, label\nd/a.nii, d/m.nii\n", "utf-8"),
        ("Image,Label\nd/a.nii,d/m.nii\n", "utf-8"),
        ("IMAGE ,MASK\nd/a.nii,d/m.nii\n", "utf-8"),
        ("Image Path,Ground-Truth\nd/a.nii,d/m.nii\n", "utf-8"),
        ("image,label\nd\\a.nii,d\\m.nii\n", "utf-8"),
        ("image,label\n./d/a.nii,./d/m.nii,,\n,,\n\n", "utf-8"),
        ('sep=;\n"image";"label"\n"d/a.nii";"d/m.nii"\n', "utf-16"),
        (",image,label\n0,d/a.nii,d/m.nii\n", "utf-8"),
    ],
)
def test_what_spreadsheets_save_is_one_labelled_case(touch: Touch, text: str, encoding: str) -> None:
    imported = read(touch("d/a.nii", "d/m.nii"), text, encoding)
    assert rows(imported) == [("d/a.nii", "d/m.nii")]
    assert not [finding for finding in imported.findings if finding.severity == "error"]


def test_latin_1_is_read_with_a_note(touch: Touch) -> None:
    with pytest.warns(Advice, match="not UTF-8"):
        imported = read(touch("a.nii"), "image,site\na.nii,Köln\n", "latin-1")
    assert imported.manifest.training[0].site == "Köln"


def test_nothing_known_is_nothing(touch: Touch) -> None:
    imported = read(touch("a.nii"), "image,label,fold,psa,group\na.nii,nan,NaN,n/a,\n")
    case = imported.manifest.training[0]
    assert (case.label, case.fold, case.attributes, case.group) == (None, None, {}, None)
    assert rows(read(touch(), "image,label\na.nii,None\n")) == [("a.nii", None)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["012", "7"], ["012", "7"]),
        (["1_2", "3"], ["1_2", "3"]),
        (["1E5", "2"], ["1E5", "2"]),
        (["4.5", "?"], [4.5, "?"]),
        (["4", "-5"], [4, -5]),
        (["0", "0.50"], [0, 0.5]),
        (["1.2e-3", "4"], [1.2e-3, 4]),
        (["4,5", "6,5"], ["4,5", "6,5"]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["inf", "x"], ["inf", "x"]),
        (["2021-03-04", "1"], ["2021-03-04", "1"]),
    ],
)
def test_codes_stay_text_and_numbers_are_numbers(touch: Touch, cells: list[str], expected: list[object]) -> None:
    imported = read(touch("a.nii", "b.nii"), f"image;code\na.nii;{cells[0]}\nb.nii;{cells[1]}\n")
    found = [case.attributes["code"] for case in imported.manifest.training]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]


def test_channels_structures_and_patients(touch: Touch) -> None:
    folder = touch("a.nii", "b.nii")
    imported = read(folder, "image,subject,labelled,fold\na.nii;b.nii,007,,1.0\nb.nii|a.nii,8,,\n")
    assert imported.manifest.n_channels == 2
    assert [(case.images, case.patient_id, case.fold) for case in imported.manifest.training] == [
        (("a.nii", "b.nii"), "007", 1),
        (("b.nii", "a.nii"), "8", None),
    ]
    assert imported.findings[0].subjects == ("subject",)


def test_a_column_of_parts_keeps_test_cases_away(touch: Touch) -> None:
    imported = read(touch("a.nii", "b.nii", "c.nii"), "image,Split\na.nii,train\nb.nii,Val\nc.nii,test\n")
    assert [(case.case_id, case.fold) for case in imported.manifest.training] == [("a", None), ("b", 0)]
    assert [case.case_id for case in imported.manifest.test] == ["c"]


def test_files_that_are_not_there_are_told(touch: Touch) -> None:
    imported = read(touch("a.nii"), "image,label\na.nii,x.nii\n")
    assert [(finding.severity, finding.subjects) for finding in imported.findings] == [("error", ("x.nii",))]


def test_two_columns_for_one_thing(touch: Touch) -> None:
    imported = read(touch("a.nii", "m.nii"), "image,label,mask\na.nii,m.nii,brain.nii\n")
    assert imported.manifest.training[0].attributes == {"mask": "brain.nii"}
    assert imported.findings[0].kind == "attributes"
    with pytest.raises(ManifestError, match="one column for `label`, got `mask` and `seg`"):
        read(touch(), "image,mask,seg\na.nii,m.nii,m.nii\n")
    with pytest.raises(ManifestError, match="one column for `image`, got `image` and `Image`"):
        read(touch(), "image,Image\na.nii,m.nii\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imag,label\na,b\n", r"must have a column `image`, got \['imag', 'label'\]. Did you mean `imag`\?"),
        ("Bild,Maske\na,b\n", "Call the column of the images `image`"),
        ("image,label\n", "must hold a row for each case below its header"),
        ("image,label\n,m.nii\n", "line 2 must name an image in column `image`, got ``"),
        ("image,fold\na.nii,two\n", "line 2: `fold`: .*got `two`"),
        ("image,label\na.nii,m.nii,x\n", "line 2 must have cells below the columns"),
        ("image\na.nii;b.nii\na.nii\n", "the same number of channels in each row, got 1 with 1, 1 with 2"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(touch: Touch, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(touch("a.nii"), text)


def test_one_name_in_several_folders_needs_no_ids(touch: Touch) -> None:
    imported = read(touch("P1/t2w.nii", "P2/t2w.nii"), "image\nP1/t2w.nii\nP2/t2w.nii\n")
    assert [case.case_id for case in imported.manifest.training] == ["P1_t2w", "P2_t2w"]


@pytest.mark.parametrize("column", ["annotation", "lable"])
def test_a_column_of_masks_that_nobody_knows_is_named(touch: Touch, column: str) -> None:
    imported = read(touch("a.nii", "m.nii", "b.nii"), f"image,{column},notes\na.nii,m.nii,m.nii is good\nb.nii,,\n")
    (finding,) = imported.findings
    assert finding.subjects == (column,)
    assert "Call the column `label`" in finding.message
    named = read(touch("a.nii", "m.nii"), f"image,label,{column}\na.nii,m.nii,m.nii\n")
    assert not named.findings
