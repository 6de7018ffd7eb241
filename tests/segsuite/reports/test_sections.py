from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from segsuite.reports.page import write_report
from segsuite.reports.sections import Table, read_sections, write_section


def test_sections_are_shown_in_order_and_escaped(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    write_section(tmp_path, "b", title="Second", text=["a < b"])
    write_section(tmp_path, "a", title="First", tables=[Table(("name", "value"), [("x & y", "1")])], figures=[("a line", figure)])
    assert [section["title"] for section in read_sections(tmp_path)] == ["First", "Second"]
    page = write_report(tmp_path).read_text()
    assert page.index("First") < page.index("Second")
    assert "x &amp; y" in page
    assert "a &lt; b" in page
    assert "data:image/png" in page


def test_no_sections_no_page(tmp_path: Path) -> None:
    assert read_sections(tmp_path) == []
