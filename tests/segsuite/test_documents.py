from __future__ import annotations

import os
from pathlib import Path

import pytest

from segsuite.documents import is_missing, read_json, read_table, read_text
from segsuite.errors import Advice, InputError, ManifestError


def saved(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_every_encoding_with_a_mark_is_read(self, tmp_path: Path, encoding: str) -> None:
        assert read_text(saved(tmp_path / "t", "Köln\n", encoding)) == "Köln\n"

    @pytest.mark.parametrize(("encoding", "word"), [("latin-1", "Universität"), ("cp1252", "Geß \u201cx\u201d")])
    def test_windows_text_is_read_with_a_note_that_shows_it(self, tmp_path: Path, encoding: str, word: str) -> None:
        with pytest.warns(Advice, match="is not UTF-8; it was read as Windows-1252.*line 2: `" + word):
            assert read_text(saved(tmp_path / "t", f"a\n{word}\n", encoding)) == f"a\n{word}\n"

    @pytest.mark.parametrize("content", [b"PK\x03\x04\x14\x00\xff", b"a\x00b", "a,b".encode("utf-16-le"), b"\xff\xfea"])
    def test_what_is_no_text_is_refused(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(ManifestError, match="must be a text file, got bytes that are none"):
            read_text(saved(tmp_path / "t", content), error=ManifestError)

    def test_folders_pipes_and_long_files_are_refused_unread(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="got a folder"):
            read_text(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="got a device or pipe"):
            read_text(tmp_path / "pipe")
        with pytest.raises(InputError, match=r"at most 3 bytes, got more \(4\)"):
            read_text(saved(tmp_path / "t", "abcd"), most_bytes=3)
        with pytest.raises(FileNotFoundError, match="nothing is there"):
            read_text(tmp_path / "none")


class TestJson:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", r"must be JSON, got: Expecting property name.*line 1, column 2"),
            ("", "must be JSON, got: an empty file"),
            ("[" * 100_000, "nested at most 64 deep"),
            ("[" * 80 + "]" * 80, "nested at most 64 deep"),
            ('{"a":' * 70 + "1" + "}" * 70, "nested at most 64 deep"),
            ('{"labels": {"1": "x", "1": "y"}}', "the key `1` twice"),
            ('{"a": Infinity}', "the number Infinity"),
            ('{"a": ' + "9" * 5000 + "}", "must be JSON, got: Exceeds the limit"),
            ("[1]", r"must hold an object \{...\}, got a list"),
            ("3", "got int"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path: Path, content: str, message: str) -> None:
        with pytest.raises(ManifestError, match=message):
            read_json(saved(tmp_path / "j.json", content), error=ManifestError)

    def test_nan_is_null(self, tmp_path: Path) -> None:
        assert read_json(saved(tmp_path / "j.json", '{"psa": NaN, "deep": [[1]]}')) == {"psa": None, "deep": [[1]]}

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        assert read_json(saved(tmp_path / "j.json", "[1]", "utf-8-sig"), kind=list) == [1]


class TestTable:
    @pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_the_separator_is_found(self, tmp_path: Path, mark: str, end: str) -> None:
        lines = ["image,label,psa", 'a.nii,b.nii,"4,5"', "c.nii,,"]
        text = end.join(line.replace(",", mark).replace("4" + mark + "5", "4,5") for line in lines) + end
        table = read_table(saved(tmp_path / "t.csv", text, "utf-8-sig"))
        assert table.columns == ("image", "label", "psa")
        assert table.rows == [
            {"image": "a.nii", "label": "b.nii", "psa": "4,5"},
            {"image": "c.nii", "label": "", "psa": ""},
        ]
        assert table.lines == [2, 3]

    def test_blanks_trailing_marks_and_blank_rows_count_as_nothing(self, tmp_path: Path) -> None:
        text = "\nimage, label,,\n a ,b,,\n,,,\n\n c,\n , \n"
        table = read_table(saved(tmp_path / "t.csv", text))
        assert table.rows == [{"image": "a", "label": "b"}, {"image": "c", "label": ""}]
        assert table.lines == [3, 6]

    def test_the_line_of_excel_that_names_the_separator(self, tmp_path: Path) -> None:
        table = read_table(saved(tmp_path / "t.csv", "sep=;\r\na;b,c\r\n1;2\r\n"))
        assert (table.columns, table.rows, table.lines) == (("a", "b,c"), [{"a": "1", "b,c": "2"}], [3])

    def test_that_line_with_a_tab(self, tmp_path: Path) -> None:
        assert read_table(saved(tmp_path / "t.csv", "sep=\t\na\tb\n1\t\n")).rows == [{"a": "1", "b": ""}]

    def test_one_column_of_lists(self, tmp_path: Path) -> None:
        assert read_table(saved(tmp_path / "t.csv", "image\na.nii;b.nii\n")).rows == [{"image": "a.nii;b.nii"}]

    def test_a_cell_over_two_lines_keeps_the_count_of_lines(self, tmp_path: Path) -> None:
        table = read_table(saved(tmp_path / "t.csv", 'a,b\n"x\ny",1\nz,2\n'))
        assert table.rows[0]["a"] == "x\ny"
        assert table.lines == [2, 4]

    def test_row_numbers_of_pandas_and_empty_columns_are_left_out(self, tmp_path: Path) -> None:
        table = read_table(saved(tmp_path / "t.csv", ",image,,label\n0,a,,b\n1,c,,d\n"))
        assert table.columns == ("image", "label")
        assert table.rows == [{"image": "a", "label": "b"}, {"image": "c", "label": "d"}]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "must have a header"),
            ("\n\n", "must have a header"),
            ("a,b,a\n1,2,3\n", "must name each column once, got `a` twice"),
            ("a,,,b\n1,2,3,4\n", """line 2 must .*only, got another: `2`"""),
            ("a,b\n1,2\n1,2,3\n", r"line 3 must have cells below the columns \['a', 'b'\] only, got another: `3`"),
            ('a,b\n"1,2\n3,4\n', "line 2 must be a row of a table, got: unexpected end of data"),
            ("a\n" + "x" * 140_000, "line 2 must be a row of a table, got: field larger than field limit"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_line(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ManifestError, match=message):
            read_table(saved(tmp_path / "t.csv", text), error=ManifestError)


def test_what_spreadsheets_write_for_nothing() -> None:
    assert all(is_missing(cell) for cell in ("", " ", "nan", "NaN", "n/a", "NA", "#N/A", "null"))
    assert not any(is_missing(cell) for cell in ("0", "none of these", "nano"))
