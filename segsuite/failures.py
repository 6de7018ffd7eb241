"""What went wrong with one case, as a sentence that a person understands, whatever class of exception it came as."""

from __future__ import annotations

import builtins
import errno
import gc
import os
import sys
import traceback
import uuid
from enum import Enum
from pathlib import Path

from segsuite.errors import DeviceError, InputError, OutputError, OutputFolderError

__all__ = ["Step", "first_line", "reason_of", "require_living_device", "require_usable_folder"]

MOST_CHARACTERS = 400
"""Of what a library says."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Step(Enum):
    """What is done with a case when something goes wrong, and what its user can do then."""

    MEASURING = (
        "its masks were read",
        "They may be damaged: copy or export them again",
        "crop the masks, or use fewer processes (-j 1)",
    )
    LOOKING = "its files were looked at", "Check that they are there and readable"
    READING = "its files were read", "They may be damaged: copy or export them again"
    SEGMENTING = "it was segmented", "The same command tries it again; if that ends the same way, report this sentence"
    WRITING = "its mask was written", "Check the output folder, then run the same command again"
    RECORDING = "its ledger line was written", "Check the output folder, then run the same command again"
    COMMAND = "the command ran", "If it comes again, report this sentence and what --verbose shows"
    OPENING = "the model was opened", "Check the model folder and the installation"

    def __init__(
        self, doing: str, advice: str, memory: str = "use a machine with more memory, or a model with a larger spacing"
    ) -> None:
        """What was being done, and what helps, also where memory is short."""
        self.doing, self.advice, self.memory = doing, advice, memory


def reason_of(error: BaseException, step: Step) -> str:
    """One sentence: our own errors say all themselves; of any other, its class, what it says, and what helps.

    Args:
        error: Of any class.
        step: During which it was raised.

    Returns:
        Text that any terminal and any JSON can hold.
    """
    if isinstance(error, MemoryError):
        _free_memory(error)
        return f"out of memory ({_said(error)}): {step.memory}"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU; torch is not loaded here
        _free_memory(error)
        said = _said(error).split(". ")[0]
        return f"out of memory on the GPU ({said}): take fewer cases at once (--workers 1), or --device cpu"
    if isinstance(error, InputError) or (isinstance(error, FileNotFoundError) and error.errno is None):
        return _printable(str(error))
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return _of_system(error, step)
    return f"{_name_of(type(error))}: {_said(error)}. It came while {step.doing}. {step.advice}."


def first_line(error: BaseException) -> str:
    """What a library says, for a sentence of ours: some put whole paragraphs into an exception, some nothing.

    Args:
        error: Of any class.

    Returns:
        The first line that says something, without its full stop; the class where none does.
    """
    return _line(error) or type(error).__name__


def require_usable_folder(folder: Path, error: BaseException) -> None:
    """Tell what is wrong with one output from what is wrong with the whole folder.

    Args:
        folder: Of all outputs.
        error: That came when something was written.

    Raises:
        OutputFolderError: The disk is full, or nothing at all can be written there: other cases would fail like this one.
    """
    if isinstance(error, OutputFolderError):
        raise error
    system = _of_class(error, OSError)
    if system is None:
        return
    if system.errno not in NO_ROOM:
        probe = folder / f".{uuid.uuid4().hex[:8]}.tmp"
        try:
            probe.write_bytes(bytes(4096))
            probe.unlink()
        except OSError:
            pass  # nothing can be written there
        else:
            return
    said = str(error) if isinstance(error, OutputError) else f"{folder} must be writable, got: {system.strerror or system}."
    raise OutputFolderError(said) from error


def require_living_device(error: BaseException) -> None:
    """Tell what went wrong with one case on a GPU from a GPU that fails every later case in this process, too.

    Args:
        error: That came when a case was segmented.

    Raises:
        DeviceError: The GPU does not answer any more.
    """
    torch = sys.modules.get("torch")  # who has a case on a GPU has loaded it
    if torch is None or "CUDA error" not in _said(error):
        return
    try:
        torch.zeros(1, device="cuda").cpu()
    except Exception:
        raise DeviceError(f"lost its GPU ({_said(error)}): the same command goes on from there") from error


def _of_system(error: OSError, step: Step) -> str:
    """What the operating system says, with the file."""
    file = "" if error.filename is None else _printable(os.fsdecode(error.filename))
    if isinstance(error, PermissionError):
        return f"{file or 'a file'} must be readable, got: permission denied. Change its permissions."
    return f"{file or 'a file'} could not be used while {step.doing}, got: {error.strerror}. {step.advice}."


def _of_class(error: BaseException | None, kind: type[OSError]) -> OSError | None:
    """The error itself, or what it came from."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _name_of(kind: type[BaseException]) -> str:
    """With its module where it is called no more than ``error``."""
    is_vague = kind.__name__.lower() == "error" and kind.__module__ != builtins.__name__
    return f"{kind.__module__}.{kind.__name__}" if is_vague else kind.__name__


def _said(error: BaseException) -> str:
    return _line(error) or "no more is known"


def _line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # an exception whose own text fails
        text = ""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return _printable(line).rstrip(".")[:MOST_CHARACTERS]


def _printable(text: str) -> str:
    """Without what a terminal would obey, and without what no encoding can hold."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in plain)


def _free_memory(error: BaseException) -> None:
    """The frames of a traceback hold the arrays that were too large."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
