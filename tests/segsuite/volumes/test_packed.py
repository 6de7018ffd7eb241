from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.image_files import hash_of_image
from segsuite.volumes.packed import image_at, images_packed_in
from segsuite.volumes.reading import (
    holds_fractions,
    read_channels,
    read_grid,
    read_labels,
    read_stored,
    read_volume,
    stored_shape,
)

Write = Callable[..., Path]
ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where archives are unpacked; nothing may stay in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def image(tmp_path: Path, write_nifti: Write) -> Path:
    return write_nifti(tmp_path / "plain/scan.nii.gz", ARRAY, spacing=0.7)


def pack(path: Path, *sources: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for source in sources:
                for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
                    packed.write(file, f"export/{file.name}")
    else:
        with tarfile.open(path, "w:gz") as bundle:
            for source in sources:
                bundle.add(source, f"export/{source.name}")
    return path


@pytest.mark.parametrize("name", ["s1.zip", "s1.tar.gz", "S1.TGZ"])
def test_every_reader_takes_an_archive_of_one_image(image: Path, tmp_path: Path, temporary: Path, name: str) -> None:
    archive = pack(tmp_path / name, image)
    volume = read_volume(archive)
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    assert volume.path == archive
    np.testing.assert_array_equal(read_labels(archive).labels, ARRAY)
    np.testing.assert_array_equal(read_stored(archive)[0], ARRAY)
    np.testing.assert_array_equal(read_channels([archive, image]).array[0], read_channels([archive, image]).array[1])
    np.testing.assert_allclose(read_grid(archive).spacing_mm, 0.7, rtol=1e-6)
    assert (stored_shape(archive), holds_fractions(archive)) == ((2, 3, 4), False)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", ["s1.zip", "s1.tar.gz"])
def test_a_packed_series_is_the_series(write_series: Write, tmp_path: Path, temporary: Path, name: str) -> None:
    folder = write_series("p1")
    archive = pack(tmp_path / name, folder)
    np.testing.assert_array_equal(read_volume(archive).array, read_volume(folder).array)
    np.testing.assert_array_equal(read_grid(archive).affine, read_grid(folder).affine)
    assert images_packed_in(archive) == ["export" if name == "s1.zip" else "export/p1"]
    assert list(temporary.iterdir()) == []


def test_several_images_are_named_and_one_of_several_series_can_be_chosen(
    image: Path, write_series: Write, tmp_path: Path, temporary: Path
) -> None:
    other = Path(shutil.copy(image, image.with_name("mask.nii.gz")))
    archive = pack(tmp_path / "s1.zip", image, other)
    with pytest.raises(VolumeError, match=r"s1.zip must hold one image .* got 2: export/mask.nii.gz, export/scan.nii.gz\."):
        read_volume(archive)
    assert sorted(images_packed_in(archive)) == ["export/mask.nii.gz", "export/scan.nii.gz"]
    folders = [write_series("p1"), write_series("p2")]
    two = pack(tmp_path / "two.tar.gz", *folders)
    with pytest.raises(VolumeError, match="got 2: export/p1, export/p2"):
        read_volume(two)
    import pydicom

    uid = pydicom.dcmread(next(folders[1].iterdir())).SeriesInstanceUID
    np.testing.assert_array_equal(read_volume(two, series_uid=uid).array, read_volume(folders[1]).array)
    assert list(temporary.iterdir()) == []


def test_what_is_wrong_inside_names_the_archive_and_nothing_stays(image: Path, tmp_path: Path, temporary: Path) -> None:
    image.write_bytes(image.read_bytes()[:60])
    archive = pack(tmp_path / "s1.zip", image)
    with pytest.raises(VolumeError) as refused:
        read_volume(archive)
    assert str(refused.value).startswith(f"{archive}/export/scan.nii.gz must be")
    assert str(temporary) not in str(refused.value)
    with pytest.raises(RuntimeError, match="in the block"), image_at(archive):
        raise RuntimeError("in the block")
    assert list(temporary.iterdir()) == []


def test_no_image_damage_and_nothing(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    empty = pack(tmp_path / "a.zip", tmp_path / "notes.txt")
    with pytest.raises(VolumeError, match=r"a.zip must hold one image .* got none\. Check what was packed"):
        read_volume(empty)
    assert images_packed_in(empty) == []
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for read in (read_volume, images_packed_in):
        with pytest.raises(VolumeError, match="b.zip must be a complete zip or tar archive"):
            read(tmp_path / "b.zip")
    with pytest.raises(FileNotFoundError, match="gone.zip"):
        read_labels(tmp_path / "gone.zip")
    assert list(temporary.iterdir()) == []


def test_an_image_whose_name_says_archive_is_an_image(image: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_volume(image.rename(tmp_path / "s.tar.gz")).array[0], ARRAY)


def test_the_hash_is_that_of_the_archive(image: Path, tmp_path: Path) -> None:
    """Packed again, with another time or level, it is another file; its voxels are compared where copies are looked for."""
    first = pack(tmp_path / "a.zip", image)
    second = Path(shutil.copy(first, tmp_path / "b.zip"))
    assert hash_of_image(first) == hash_of_image(second) != hash_of_image(image)
