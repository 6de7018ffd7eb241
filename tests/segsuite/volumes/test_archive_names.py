from __future__ import annotations

from segsuite.volumes.archive_names import archive_ending


def test_endings_of_two_parts_are_one() -> None:
    assert [archive_ending(name) for name in ("a.TAR.GZ", "a.tgz", "a.zip", "a.nii.gz", "tar")] == [
        ".tar.gz",
        ".tgz",
        ".zip",
        "",
        "",
    ]
