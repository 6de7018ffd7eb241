from __future__ import annotations

import errno
import json
import struct
import sys
from pathlib import Path

import pytest

from segsuite.errors import DeviceError, OutputError, OutputFolderError, VolumeError
from segsuite.failures import Step, first_line, reason_of, require_living_device, require_usable_folder
from tests.faults import ERRORS


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", Step)
def test_any_class_becomes_one_line_that_says_what_to_do(error: Exception, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segsuite.failures.gc.collect", lambda: 0)  # takes a while in a large process
    said = reason_of(error, step)
    assert said == said.strip()
    assert "\n" not in said
    json.loads(json.dumps(said))
    assert said.encode()


def test_our_own_errors_say_all_themselves() -> None:
    assert reason_of(VolumeError("x must be y, got z."), Step.READING) == "x must be y, got z."
    assert reason_of(FileNotFoundError("x must be there."), Step.READING) == "x must be there."


def test_what_helps_where_memory_is_short_depends_on_what_was_done() -> None:
    assert reason_of(MemoryError(), Step.MEASURING) == (
        "out of memory (no more is known): crop the masks, or use fewer processes (-j 1)"
    )
    assert "a model with a larger spacing" in reason_of(MemoryError("8 GB"), Step.SEGMENTING)


def test_of_what_a_library_says_the_first_line_is_kept() -> None:
    assert first_line(ValueError("\n  a short\x07 line.\nand a paragraph")) == "a short  line"
    assert first_line(KeyError()) == "KeyError"


def test_a_vague_class_is_named_with_its_module() -> None:
    assert reason_of(struct.error("short"), Step.READING).startswith("struct.error: short. It came while its files were read.")
    assert reason_of(RuntimeError(), Step.SEGMENTING).startswith("RuntimeError: no more is known. It came while it was segm")


def test_what_a_terminal_would_obey_is_left_out() -> None:
    assert "\x1b" not in reason_of(RuntimeError("\x1b[2Jgone"), Step.READING)
    reason_of(VolumeError("\udcff.nii.gz must be read"), Step.READING).encode()


def test_one_file_that_cannot_be_written_is_no_matter_of_the_folder(tmp_path: Path) -> None:
    for error in (OSError(errno.EIO, "Input/output error"), OutputError("it must read back as written"), KeyError("x")):
        require_usable_folder(tmp_path, error)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_and_a_folder_that_is_gone_are(tmp_path: Path) -> None:
    full = OutputError("a must be writable, got: No space left on device. Free some space.")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputFolderError, match="a must be writable, got: No space left.*Free some space"):
        require_usable_folder(tmp_path, full)
    with pytest.raises(OutputFolderError, match="gone must be writable, got: No such file"):
        require_usable_folder(tmp_path / "gone", FileNotFoundError(errno.ENOENT, "No such file"))
    with pytest.raises(OutputFolderError, match="told before"):
        require_usable_folder(tmp_path, OutputFolderError("told before"))


class FakeTorch:
    def __init__(self, *, answers: bool) -> None:
        self.answers = answers

    def zeros(self, size: int, *, device: str) -> FakeTorch:
        if not self.answers:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return self

    def cpu(self) -> None:
        pass


def test_a_gpu_that_answers_no_more_is_told_from_one_case_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("CUDA error: device-side assert triggered")
    for said, answers in ((error, True), (RuntimeError("shapes differ"), False)):
        monkeypatch.setitem(sys.modules, "torch", FakeTorch(answers=answers))
        require_living_device(said)
    with pytest.raises(DeviceError, match=r"lost its GPU \(CUDA error: device-side assert triggered\)"):
        require_living_device(error)
