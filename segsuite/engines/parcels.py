"""Cases with their files, and what was made of them, as objects that travel to a node that sees none of the folders, and back."""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segsuite.engines.case_sizes import require_ordinary_files
from segsuite.engines.claims import Claims
from segsuite.engines.input_case import InputCase
from segsuite.engines.ledger import LEDGERS, Ledger, LedgerLine, read_ledger
from segsuite.engines.segmentation import Predictor
from segsuite.engines.sources import source_of
from segsuite.failures import Step, reason_of, require_usable_folder
from segsuite.files import make_folder, write_atomically
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.image_files import files_of_image
from segsuite.volumes.writing import SIDE_VOLUMES

__all__ = ["Made", "Parcel", "SentModel", "deliver", "make_of", "pack"]

Work = Callable[[list[InputCase], Path], tuple[dict[str, str], int]]
"""Cases and output folder to the result of each case, and how many were left."""


@dataclass(frozen=True)
class Parcel:
    """Some cases, and all that segmenting them takes.

    Attributes:
        cases: As the sender names their files.
        files: Content of their images, and of the outputs that are there already, by place below the receiver's folder.
        lines: Of the ledger, of cases that were worked on before.
    """

    cases: tuple[InputCase, ...]
    files: Mapping[str, bytes]
    lines: tuple[LedgerLine, ...]


@dataclass(frozen=True)
class Made:
    """What was made of a parcel.

    Attributes:
        files: Content of new outputs by place below the output folder.
        lines: New ones, for the ledger.
        results: Case id to ``done``, ``skipped`` or a reason.
        n_left: Cases that were not begun.
    """

    files: Mapping[str, bytes]
    lines: tuple[LedgerLine, ...]
    results: Mapping[str, str]
    n_left: int


def pack(cases: Sequence[InputCase], ledger: Ledger) -> Parcel:
    """Read all files of some cases; one that is not there is left out, and its case fails where it is read.

    Args:
        cases: A few: their files are in memory together.
        ledger: Of the output folder.

    Returns:
        The parcel.

    Raises:
        OSError: A file is there and cannot be read.
        VolumeError: A file is none that could be read to its end.
    """
    files: dict[str, bytes] = {}
    lines: list[LedgerLine] = []
    claims = Claims(ledger, overwrite=False)
    for number, case in enumerate(cases):
        require_ordinary_files(case)
        for channel, image in enumerate(case.images):
            for part in files_of_image(image):
                files[f"{_place(number, channel)}/{part.relative_to(image.parent).as_posix()}"] = part.read_bytes()
        line = ledger.lines.get(case.case_id)
        known = [ledger.owner(case.output), line]
        lines += [each for each in known if each is not None and each not in lines]
        output = ledger.folder / (line.output if line is not None and line.output else case.output)
        if output.is_file() and not claims.is_unfinished(case, output.relative_to(ledger.folder).as_posix()):
            files[f"out/{output.relative_to(ledger.folder).as_posix()}"] = output.read_bytes()
    return Parcel(tuple(replace(case, source=source_of(case)) for case in cases), files, tuple(lines))


def make_of(parcel: Parcel, work: Work) -> Made:
    """Unpack a parcel in a folder of its own, work on it there, and pack what came of it.

    Args:
        parcel: From ``pack``.
        work: Segments.

    Returns:
        What was made; reasons name the sender's files.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, content in parcel.files.items():
            make_folder((folder / place).parent)
            (folder / place).write_bytes(content)
        out = make_folder(folder / "out")
        before = Ledger(out)
        for line in parcel.lines:
            before.append(line)
        here = [_case_here(case, number, folder) for number, case in enumerate(parcel.cases)]
        results, n_left = work(here, out)
        pairs = [zip(case.images, sent.images, strict=True) for case, sent in zip(here, parcel.cases, strict=True)]
        renamed = {str(image): str(sent) for pair in pairs for image, sent in pair}
        lines = [line for line in read_ledger(out).values() if line not in parcel.lines]
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in _outputs(out)}
        new = {name: content for name, content in files.items() if parcel.files.get(f"out/{name}") != content}
        told = {case: _with_names(result, renamed) for case, result in results.items()}
        return Made(new, tuple(replace(line, reason=_with_names(line.reason, renamed)) for line in lines), told, n_left)


def deliver(made: Made, ledger: Ledger, cases: Sequence[InputCase]) -> dict[str, str]:
    """Write what was made into the output folder: masks first, the ledger last.

    Args:
        made: From ``make_of``.
        ledger: Of the output folder.
        cases: That were sent.

    Returns:
        Case id to result; a case whose files cannot be written has failed.

    Raises:
        OutputFolderError: Nothing can be written to the folder.
    """
    claims, results = Claims(ledger, overwrite=True), dict(made.results)
    of_case = {line.case: line for line in made.lines if line.status == "done"}
    for case in cases:
        line = of_case.pop(case.case_id, None)
        if line is None:
            continue
        try:
            claims.take(case, line.output)
            for place, content in made.files.items():
                if _is_beside(place, case.output):
                    target = ledger.folder / place
                    make_folder(target.parent)
                    write_atomically(target, partial(_write_bytes, content))
            ledger.append(line)
        except Exception as error:
            require_usable_folder(ledger.folder, error)
            results[case.case_id] = reason_of(error, Step.WRITING)
            ledger.put_down(case, results[case.case_id], line=line)
        claims.give_up(line.output, written=results[case.case_id] == "done")
    for line in made.lines:
        if line.status != "done":
            ledger.append(line)
    return results


class SentModel:
    """Opens a model whose folder travels with it."""

    def __init__(self, folder: Path, load: Callable[[Path], Predictor]) -> None:
        """Pack.

        Args:
            folder: Of the model.
            load: Opens a model folder; must be picklable.
        """
        self.load = load
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:  # not compressed: weights do not shrink
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder).as_posix())
        self.content = packed.getvalue()

    def __call__(self) -> Predictor:
        """Unpack for as long as this object lives, and open."""
        folder = tempfile.mkdtemp(prefix="segsuite_model_")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            archive.extractall(folder)
        return self.load(Path(folder))


def _place(number: int, channel: int) -> str:
    """Below which an image of a case travels: two may have the same name."""
    return f"in/{number}/{channel}"


def _case_here(case: InputCase, number: int, folder: Path) -> InputCase:
    images = [folder / _place(number, channel) / image.name for channel, image in enumerate(case.images)]
    return replace(case, images=tuple(images))


def _outputs(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file() and not (path.name.startswith(".") or _is_ledger(path, out)))


def _is_ledger(path: Path, out: Path) -> bool:
    return path.parent == out and path.match(LEDGERS)


def _is_beside(place: str, output: str) -> bool:
    """Whether a file is a case's mask or lies beside it."""
    stem = without_ending(output)
    return place == output or place == f"{stem}_report.json" or any(place.startswith(f"{stem}{mark}") for mark in SIDE_VOLUMES)


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _with_names(text: str, renamed: Mapping[str, str]) -> str:
    for here, there in renamed.items():
        text = text.replace(here, there)
    return text
