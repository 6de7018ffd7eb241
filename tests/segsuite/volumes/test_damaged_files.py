"""Files of every format, damaged at random: each is read as what it was, or refused in a sentence that names it."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import InputError
from segsuite.volumes.formats.written import metaimage_bytes, mgh_bytes, nifti_bytes, nrrd_bytes, packed
from segsuite.volumes.grid import Grid
from segsuite.volumes.reading import read_grid, read_labels, read_segments, read_volume
from segsuite.volumes.volume import Volume

LABELS = np.random.default_rng(0).integers(0, 5, (9, 8, 7)).astype(np.uint8)
AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1.0]])
LIKE = Volume(LABELS[None], Grid(LABELS.shape, AFFINE))
NASTY = (
    b"-1", b"0", b"nan", b"inf", b"1e30", b"1e-30", b"4294967296", b"9" * 20, b"1" * 5000, b"", b"x", b"(", b"none", b"\xff\xfe",
    b"%d", b"../x", b"/dev/zero", b"\0",
)  # fmt: skip
WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\x01\x80")
"""Of four bytes in a header: 0, -1, the largest integer, infinity, NaN; and a negative short."""
MOST_BYTES = 20_000_000
"""That reading such a small file may take, whatever it claims."""


def segmentation_bytes() -> bytes:
    """Two layers of a Slicer segmentation."""
    header = (
        nrrd_bytes(LABELS, LIKE).split(b"\n\n")[0].replace(b"dimension: 3", b"dimension: 4").replace(b"sizes: ", b"sizes: 2 ")
    )
    header = header.replace(b"directions: ", b"directions: none ").replace(b"kinds: ", b"kinds: list ")
    parts = [b"Segment%d_%s:=%s" % (n, key, text) for n in range(2) for key, text in ((b"Name", b"n"), (b"LabelValue", b"1"))]
    layers = [b"Segment%d_Layer:=%d" % (n, n) for n in range(2)]
    drawn = np.stack([LABELS == 1, LABELS == 2]).astype(np.uint8)
    return b"\n".join([header, *parts, *layers, b"", b""]) + packed(drawn.tobytes(order="F"))


BARE = LABELS.tobytes(order="F")
NRRD_HEADER = nrrd_bytes(LABELS, LIKE).split(b"\n\n")[0] + b"\n\n"
META_HEADER = metaimage_bytes(LABELS, LIKE).split(b"LOCAL\n")[0] + b"LOCAL\n"
SAMPLES = {
    "a.nii": nifti_bytes(LABELS, LIKE),
    "a.nii.gz": packed(nifti_bytes(LABELS, LIKE)),
    "b.nii": nib.Nifti2Image(LABELS, AFFINE).to_bytes(),
    "a.mgh": mgh_bytes(LABELS, LIKE),
    "a.mgz": packed(mgh_bytes(LABELS, LIKE)),
    "a.nrrd": nrrd_bytes(LABELS, LIKE),
    "b.nrrd": NRRD_HEADER.replace(b"gzip", b"raw") + BARE,
    "c.nrrd": NRRD_HEADER.replace(b"gzip", b"ascii") + b" ".join(b"%d" % n for n in LABELS.ravel(order="F")),
    "a.mha": metaimage_bytes(LABELS, LIKE),
    "b.mha": META_HEADER.replace(b"CompressedData = True", b"CompressedData = False") + BARE,
    "a.seg.nrrd": segmentation_bytes(),
}
CHECKSUM_OF_EVERYTHING = ("a.nii.gz", "a.mgz")


def bits(content: bytes, draw: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[int(draw.integers(len(content)))] ^= 1 << int(draw.integers(8))
    return bytes(damaged)


def cut(content: bytes, draw: np.random.Generator) -> bytes:
    return content[: int(draw.integers(len(content)))]


def words(content: bytes, draw: np.random.Generator) -> bytes:
    at, word = int(draw.integers(min(len(content), 540))), WORDS[int(draw.integers(len(WORDS)))]
    return content[:at] + word + content[at + len(word) :]


def spliced(content: bytes, draw: np.random.Generator) -> bytes:
    first, second = (int(draw.integers(len(content))) for _ in range(2))
    return content[:first] + draw.bytes(int(draw.integers(1, 40))) + content[second:]


def texts(content: bytes, draw: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    at = int(draw.integers(min(len(lines), 20)))
    parts = lines[at].split(b" ")
    parts[int(draw.integers(len(parts)))] = NASTY[int(draw.integers(len(NASTY)))]
    lines[at] = b" ".join(parts)
    return b"\n".join(lines)


def inside(content: bytes, draw: np.random.Generator) -> bytes:
    """Damage before packing, so that checksums hold."""
    if content[:2] != b"\x1f\x8b":
        return words(content, draw)
    return gzip.compress((words, cut, spliced)[int(draw.integers(3))](gzip.decompress(content), draw), 1)


DAMAGES = (bits, cut, words, spliced, texts, inside)


def outcome(read: Callable[[Path], object], path: Path) -> object:
    """What comes, or the sentence."""
    try:
        return read(path)
    except (InputError, FileNotFoundError) as error:
        sentence = str(error)
    assert sentence.startswith(str(path.parent)), "it begins with its file"
    return sentence


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("rounds", [12, pytest.param(48, marks=pytest.mark.slow)])
def test_every_damage_is_a_sentence_and_never_a_crash_or_a_wrong_image(tmp_path: Path, name: str, rounds: int) -> None:
    draw = np.random.default_rng([list(SAMPLES).index(name), rounds])
    path, content = tmp_path / name, SAMPLES[name]
    path.write_bytes(content)
    whole = read_labels(path)
    tracemalloc.start()
    for number in range(rounds):
        damage = DAMAGES[number % len(DAMAGES)]
        path.write_bytes(damage(content, draw))
        found = outcome(read_labels, path)
        for read in (read_grid, read_volume, read_segments):
            outcome(read, path)
        if damage in (bits, cut) and name in CHECKSUM_OF_EVERYTHING and isinstance(found, Volume):
            np.testing.assert_array_equal(found.array, whole.array)
            np.testing.assert_array_equal(found.grid.affine, whole.grid.affine)
        if damage is cut and isinstance(found, Volume):
            np.testing.assert_array_equal(found.array, whole.array)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < MOST_BYTES


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz", "a.nrrd", "a.mha", "a.seg.nrrd"])
def test_a_flipped_bit_of_packed_voxels_is_noticed(tmp_path: Path, name: str) -> None:
    """All bits of the last 40 bytes of the stream, its checksum among them, and some of the others."""
    path, content = tmp_path / name, SAMPLES[name]
    path.write_bytes(content)
    whole = read_labels(path).labels
    begin = content.index(b"\x1f\x8b") if b"\x1f\x8b" in content else content.index(b"LOCAL\n") + len(b"LOCAL\n")
    body = range(begin + 10, len(content))
    for at in [*body[:: len(body) // 20], *body[-12:]]:
        for bit in (0, 5):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            found = outcome(read_labels, path)
            assert isinstance(found, str) or np.array_equal(found.labels, whole)  # type: ignore[attr-defined]
