"""Archives are unpacked within limits; names, links and damage do no harm; nothing of them stays."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.archives import UnpackLimits, WorkFolder, archive_name, is_archive, members_of, unpack

FILES = {"ser/1": b"one" * 100, "ser/2": b"two", "a.nii.gz": b"three"}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as bundle:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = ["s.zip", "s.tar", "s.tar.gz", "s.tgz"]


@pytest.mark.parametrize("name", KINDS)
def test_what_was_packed_is_unpacked(tmp_path: Path, name: str) -> None:
    extra = {"__MACOSX/ser/._1": b"", ".DS_Store": b"x", "more.zip": b"inner"}
    left_out = unpack(pack(tmp_path / name, FILES | extra), tmp_path / "to")
    assert content_of(tmp_path / "to") == FILES
    assert dict(left_out) == {"hidden file": 2, "archive inside an archive": 1}
    assert is_archive(tmp_path / name)
    assert archive_name(tmp_path / name) == "s"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../out.nii", "/etc/x.nii", "a/../../x.nii", "C:\\x.nii", "a\\..\\..\\x.nii"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = pack(tmp_path / kind, {"good": b"1", name: b"2"})
    with pytest.raises(VolumeError, match="must hold names below its own folder"):
        unpack(archive, tmp_path / "deep/to")
    assert not list(tmp_path.rglob("*.nii"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("link.nii")
        member.type, member.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "s.tar", "w") as bundle:
            bundle.addfile(member)
        with pytest.raises(VolumeError, match="got the link or device `link.nii`"):
            unpack(tmp_path / "s.tar", tmp_path / "to")
    link = zipfile.ZipInfo("link.nii")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(VolumeError, match="got the link or device `link.nii`"):
        unpack(tmp_path / "s.zip", tmp_path / "to")


@pytest.mark.parametrize("kind", ["s.zip", "s.tar.gz"])
def test_bombs_stop_at_the_limit(tmp_path: Path, kind: str) -> None:
    limits = UnpackLimits(files=5, total_bytes=10**6, ratio=20, free_bytes=50_000)
    for files, message in (
        ({"a": bytes(10**6 + 1)}, "unpack to at most"),
        ({"a": bytes(40_000), "b": bytes(40_000)}, "unpack to at most"),
        ({str(number): b"" for number in range(6)}, "at most 5 files"),
    ):
        with pytest.raises(VolumeError, match=message):
            unpack(pack(tmp_path / kind, files), tmp_path / "to", limits)
    unpack(pack(tmp_path / kind, {"b": bytes(40_000)}), tmp_path / "to2", limits)
    with pytest.raises(VolumeError, match="must unpack into the"):
        unpack(tmp_path / kind, tmp_path / "to3", UnpackLimits(spare_bytes=10**18))


def test_names_that_take_gigabytes_are_not_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("./PaxHeaders/x")
    member.type, member.size = tarfile.XHDTYPE, 50_000_000
    with gzip.open(tmp_path / "s.tar.gz", "wb") as packed:
        packed.write(member.tobuf(tarfile.USTAR_FORMAT) + bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(VolumeError, match="got one of 50,000,000 bytes"):
        unpack(tmp_path / "s.tar.gz", tmp_path / "to")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_said(tmp_path: Path, kind: str) -> None:
    archive = pack(tmp_path / kind, {"a": bytes(range(256)) * 50, "b": b"x" * 3000})
    content = archive.read_bytes()
    for broken in (b"", b"text", content[: len(content) // 2], content[:60] + b"\xff\xff\xff" + content[63:]):
        archive.write_bytes(broken)
        with pytest.raises(VolumeError, match="must be a complete zip or tar archive, got a damaged one"):
            unpack(archive, tmp_path / f"to{len(broken)}")


@pytest.mark.parametrize("kind", [*KINDS, "s.tar.xz", "s.tar.bz2"])
def test_the_reason_is_ours_and_no_librarys(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / kind
    noise = np.random.default_rng(0).bytes(20_000)
    if kind.endswith((".xz", ".bz2")):
        with tarfile.open(archive, "w:xz" if kind.endswith("xz") else "w:bz2") as bundle:
            member = tarfile.TarInfo("a")
            member.size = len(noise)
            bundle.addfile(member, io.BytesIO(noise))
    else:
        pack(archive, {"a": noise})
    whole = archive.read_bytes()
    middle = len(whole) // 2
    flaws = "the checksum of `a` is wrong|its checksum is wrong|it cannot be unpacked"
    for broken, said in (
        (b"", "it is empty"),
        (whole[:middle], "cut short|it cannot be unpacked to a tar"),
        (whole[:middle] + bytes(64) + whole[middle + 64 :], flaws),
    ):
        if kind == "s.tar" and len(broken) == len(whole):
            continue  # it has no checksum
        archive.write_bytes(broken)
        with pytest.raises(VolumeError, match=rf"got a damaged one \(({said})[^)]*\)\. Unpack it by hand"):
            unpack(archive, tmp_path / f"to{len(broken)}")


def test_a_name_too_long_for_the_disk_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="must hold names that this disk can have, got one that is too long"):
        unpack(pack(tmp_path / "s.zip", {"q" * 300 + ".nii": b"1"}), tmp_path / "to")


def test_the_work_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "out") as unused:
        assert unused
    assert not (tmp_path / "out").exists()

    def work() -> None:
        with WorkFolder(tmp_path / "out") as folder:
            places = [folder.place_for(Path("x/s.zip")), folder.place_for(Path("y/s.zip"))]
            assert places[0] != places[1]
            assert [place.name for place in places] == ["s.zip", "s.zip"]
            assert places[0].parent.parent.stat().st_mode & 0o777 == 0o700
            with WorkFolder(tmp_path / "out"):  # another process: it takes nothing away
                assert places[0].parent.parent.is_dir()
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        work()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    orphan = tmp_path / ".segsuite-unpacked-dead"
    orphan.mkdir()
    (orphan / ".lock").touch()
    (tmp_path / ".segsuite-unpacked-of-others").mkdir()
    with WorkFolder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".segsuite-unpacked-of-others"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_it_is_told_without_unpacking(tmp_path: Path, kind: str) -> None:
    archive = pack(tmp_path / kind, {**FILES, ".hidden": b"x", "inner.zip": b"y"})
    assert dict(members_of(archive, n_bytes=4)) == {"ser/1": b"oneo", "ser/2": b"two", "a.nii.gz": b"thre"}
    assert list(tmp_path.iterdir()) == [archive]
