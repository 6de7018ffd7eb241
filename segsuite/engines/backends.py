"""What runs a network on a CPU: torch, or an engine that was judged against it on validation cases and is faster here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segsuite.documents import read_json
from segsuite.engines.devices import choose_precision, has_fast_bfloat16
from segsuite.engines.model_folder import ModelFolder
from segsuite.errors import InputError, ModelError, OutputError, SettingsError
from segsuite.extras import import_engine
from segsuite.files import hash_of_file, hash_of_json, make_folder, write_json

__all__ = [
    "INT8_FILE",
    "NETWORK_FILE",
    "REFERENCE",
    "TABLE_FILE",
    "Backend",
    "Forward",
    "accepted_backends",
    "backends_here",
    "choose_backend",
    "open_backend",
    "pass_seconds",
    "read_table",
]

Forward = Callable[[Tensor], Tensor]
"""A batch (batch, channels, i, j, k) to the network's output, (batch, outputs, i, j, k)."""
NETWORK_FILE = Path("backends") / "network.onnx"
"""In a model folder: what engines other than torch run."""
INT8_FILE = Path("backends") / "network_int8.onnx"
"""In a model folder: the same network with convolutions in int8."""
TABLE_FILE = Path("backends") / "backends.json"
"""In a model folder: which of them gave the same masks."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
FORMATS = {"torch": ("float32", "bfloat16"), "onnxruntime": ("float32",), "openvino": ("float32", "bfloat16", "int8")}
"""What each engine computes convolutions in; by ONNX Runtime int8 was slower than float32 by torch."""
TIMED_PASSES = 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Backend:
    """An engine and its number format.

    Attributes:
        engine: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
    """

    engine: str
    precision: str = "float32"

    @property
    def name(self) -> str:
        """As users write it."""
        return f"{self.engine}/{self.precision}"

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the convolutions."""
        return PRECISIONS[self.precision]

    @property
    def version(self) -> str:
        """Of the installed package."""
        return importlib.metadata.version(self.engine)

    @property
    def file(self) -> Path | None:
        """What it runs, in a model folder; ``None``: the weights themselves."""
        if self.engine == "torch":
            return None
        return INT8_FILE if self.precision == "int8" else NETWORK_FILE

    @classmethod
    def parse(cls, name: str) -> Backend:
        """From its name; without a number format, float32.

        Args:
            name: For example ``openvino`` or ``openvino/bfloat16``.

        Raises:
            SettingsError: No such engine or number format.
        """
        engine, _, precision = name.partition("/")
        found = cls(engine, precision or "float32")
        if found.precision not in FORMATS.get(engine, ()):
            known = [cls(*pair).name for pair in itertools.product(FORMATS, PRECISIONS) if pair[1] in FORMATS[pair[0]]]
            raise SettingsError(f"--set backend must be auto or one of {known}, got `{name}`.")
        return found


REFERENCE = Backend("torch")


def backends_here() -> list[Backend]:
    """What this installation and this processor can run, the reference first."""
    engines = [engine for engine in FORMATS if importlib.util.find_spec(engine) is not None]
    formats = [name for name in PRECISIONS if name != "bfloat16" or has_fast_bfloat16(CPU)]
    return [Backend(engine, precision) for precision in formats for engine in engines if precision in FORMATS[engine]]


def read_table(model: ModelFolder) -> dict[str, Any]:
    """What `segsuite accelerate` found out about a model.

    Args:
        model: A single model.

    Returns:
        The table; empty if there is none, or one of another model.
    """
    try:
        table: dict[str, Any] = read_json(model.path / TABLE_FILE)
    except (OSError, InputError):
        return {}
    return table if table.get("model_sha256") == model.sha256 else {}


def accepted_backends(model: ModelFolder) -> list[Backend]:
    """What gave the same masks as the reference, by this network file and these versions of the engines; without a table, none.

    Args:
        model: A single model.

    Returns:
        The reference and more.
    """
    table = read_table(model)
    if not table:
        return []
    hashes = {file: hash_of_file(model.path / file) for file in (NETWORK_FILE, INT8_FILE) if (model.path / file).is_file()}
    judged = {NETWORK_FILE: table["network_sha256"], INT8_FILE: table.get("int8_sha256", "")}
    accepted = []
    for backend in backends_here():
        row = table["backends"].get(backend.name, {})
        is_judged = backend == REFERENCE or row.get("version") == backend.version
        if row.get("accepted") and is_judged and (backend.file is None or hashes.get(backend.file) == judged[backend.file]):
            accepted.append(backend)
    return accepted


def choose_backend(
    model: ModelFolder, load: Callable[[], nn.Module], *, wish: str, precision: str, device: torch.device, shape: Sequence[int]
) -> Backend:
    """The backend that the user wants, or the fastest accepted one on this machine, or torch.

    Args:
        model: A single model.
        load: Gives its network, where backends are timed.
        wish: ``auto``; ``torch``, in the number format that is usual here; or a backend's name.
        precision: ``auto``, ``float32`` or ``bfloat16``, as the model is applied.
        device: Where.
        shape: Of one batch, (batch, channels, i, j, k).

    Returns:
        The backend.

    Raises:
        SettingsError: A backend that this device, installation or model folder does not have.
    """
    if wish not in ("auto", "torch"):
        return _checked(Backend.parse(wish), model, device)
    usual = Backend("torch", next(name for name, dtype in PRECISIONS.items() if dtype == choose_precision(precision, device)))
    if wish == "torch" or device.type != "cpu":
        return usual
    allowed = [backend for backend in accepted_backends(model) if precision in ("auto", backend.precision)]
    if not allowed:
        return usual
    return allowed[0] if len(allowed) == 1 else _fastest(allowed, model, load(), shape)


def open_backend(backend: Backend, network: nn.Module, model: ModelFolder) -> Forward:
    """A network ready to run.

    Args:
        backend: By what.
        network: For torch.
        model: Whose folder holds the file for the others.

    Returns:
        What maps a batch to the output; the caller may change what it returns.
    """
    if backend.file is None:
        return network
    path = str(model.path / backend.file)
    return _onnxruntime(path) if backend.engine == "onnxruntime" else _openvino(path, backend.precision)


@torch.inference_mode()
def pass_seconds(forward: Forward, shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> float:
    """Seconds of one batch of noise: the fastest of two, after one that warms up.

    Args:
        forward: From ``open_backend``.
        shape: (batch, channels, i, j, k).
        dtype: Number format of torch's convolutions.

    Returns:
        Seconds.
    """
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=tuple(shape)).astype(np.float32))
    noise = noise.contiguous(memory_format=torch.channels_last_3d)
    found = []
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        for _ in range(1 + TIMED_PASSES):
            started = time.perf_counter()
            forward(noise)
            found.append(time.perf_counter() - started)
    return min(found[1:])


def _checked(backend: Backend, model: ModelFolder, device: torch.device) -> Backend:
    if backend.engine == "torch":
        return backend
    if device.type != "cpu":
        raise SettingsError(f"--set backend={backend.name} must have --device cpu, got {device}.")
    if backend not in backends_here():
        raise SettingsError(
            f"--set backend={backend.name} must be one of {[known.name for known in backends_here()]} on this machine. "
            "Install more: pip install 'segsuite[openvino]'."
        )
    if backend.file is not None and not (model.path / backend.file).is_file():
        raise ModelError(
            f"{model.path} must hold {backend.file} for the backend {backend.name}, got none. "
            f"Make it: segsuite accelerate {model.path} --manifest M.json"
        )
    return backend


def _fastest(backends: Sequence[Backend], model: ModelFolder, network: nn.Module, shape: Sequence[int]) -> Backend:
    """Measured once per model, machine and number of threads, then remembered."""
    versions = [(backend.name, backend.version) for backend in backends]
    machine = [platform.processor(), platform.node(), torch.get_num_threads(), list(shape)]
    path = _cache_folder() / "backends" / f"{hash_of_json([model.sha256, versions, machine])[:32]}.json"
    try:
        remembered = Backend.parse(read_json(path)["fastest"])
    except (OSError, InputError, KeyError):
        remembered = None
    if remembered is not None and remembered in backends:
        return remembered
    seconds = {b: pass_seconds(open_backend(b, network, model), shape, dtype=b.dtype) for b in backends}
    fastest = min(seconds, key=lambda backend: seconds[backend])
    try:
        make_folder(path.parent)
        write_json(path, {"fastest": fastest.name, "seconds": {backend.name: round(s, 5) for backend, s in seconds.items()}})
    except OutputError:
        pass  # a home without room: measured again next time
    return fastest


def _cache_folder() -> Path:
    """Where the user's caches are; in the temporary folder for a user without a home, as containers have them."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        home = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return home / "segsuite"


def _onnxruntime(path: str) -> Forward:
    ort = import_engine("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # readers and writers need the cores too
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: image.contiguous().numpy()})[0])

    return forward


def _openvino(path: str, precision: str) -> Forward:
    openvino = import_engine("openvino")
    how = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = openvino.Core()
    network = core.read_model(path)
    network.reshape([1, *network.input(0).partial_shape[1:]])  # a batch of any size is slower, in int8 most
    compiled = core.compile_model(network, "CPU", how)

    def forward(image: Tensor) -> Tensor:
        found = [compiled(window.contiguous().numpy())[0] for window in image.split(1)]
        return torch.from_numpy(found[0] if len(found) == 1 else np.concatenate(found))

    return forward
