"""Which engine runs a network: only one that was accepted for exactly this model, and the fastest of those."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segsuite.engines import backends, devices
from segsuite.engines.backends import (
    INT8_FILE,
    NETWORK_FILE,
    REFERENCE,
    TABLE_FILE,
    Backend,
    accepted_backends,
    backends_here,
    choose_backend,
    open_backend,
    pass_seconds,
    read_table,
)
from segsuite.engines.model_folder import ModelFolder, write_model_folder
from segsuite.errors import ModelError, SettingsError
from segsuite.files import hash_of_file

SHAPE = (1, 1, 4, 4, 4)
CPU = torch.device("cpu")
ORT, VINO = Backend("onnxruntime"), Backend("openvino")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for module in (backends, devices):
        monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: False)
    pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'segsuite[openvino]'")
    return write_model_folder(tmp_path / "model", weights={"a": torch.zeros(1)}, description={"pipeline": "p"}, card="")


def judge(model: ModelFolder, *, with_network: bool = True, sha256: str = "", **accepted: bool) -> None:
    (model.path / TABLE_FILE).parent.mkdir(exist_ok=True)
    rows = {f"{name}/float32": {"accepted": value, "version": Backend(name).version} for name, value in accepted.items()}
    (model.path / NETWORK_FILE).write_bytes(b"network")
    table = {"model_sha256": sha256 or model.sha256, "network_sha256": hash_of_file(model.path / NETWORK_FILE), "backends": rows}
    (model.path / TABLE_FILE).write_text(json.dumps(table))
    if not with_network:
        (model.path / NETWORK_FILE).unlink()


def choose(model: ModelFolder, wish: str = "auto", precision: str = "auto", device: torch.device = CPU) -> Backend:
    return choose_backend(model, nn.Identity, wish=wish, precision=precision, device=device, shape=SHAPE)


def test_name_and_back() -> None:
    assert Backend.parse("openvino") == VINO
    assert Backend.parse(Backend("torch", "bfloat16").name).dtype == torch.bfloat16
    assert Backend.parse("openvino/int8").file == INT8_FILE
    for wrong in ("tensorrt", "torch/int8", "onnxruntime/bfloat16", "openvino/int4", ""):
        with pytest.raises(SettingsError, match="must be auto or one of"):
            Backend.parse(wrong)


def test_without_a_table_torch_runs_as_before(model: ModelFolder) -> None:
    assert choose(model) == REFERENCE
    assert choose(model, precision="bfloat16") == Backend("torch", "bfloat16")
    assert read_table(model) == {}


def test_only_accepted_backends_of_this_very_model_count(model: ModelFolder) -> None:
    judge(model, torch=True, onnxruntime=False, openvino=True)
    assert accepted_backends(model) == [REFERENCE, VINO]
    judge(model, torch=True, onnxruntime=True, sha256="another model")
    assert accepted_backends(model) == []
    judge(model, with_network=False, torch=True, onnxruntime=True)
    assert accepted_backends(model) == [REFERENCE]
    (model.path / TABLE_FILE).write_text("{")
    assert accepted_backends(model) == []


def test_another_file_or_another_version_was_not_judged(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(model, torch=True, onnxruntime=True, openvino=True)
    monkeypatch.setattr(backends.importlib.metadata, "version", lambda name: "0" if name == "openvino" else version(name))
    assert accepted_backends(model) == [REFERENCE, ORT]
    (model.path / NETWORK_FILE).write_bytes(b"another network")
    assert accepted_backends(model) == [REFERENCE]


def test_int8_belongs_to_its_own_file(model: ModelFolder) -> None:
    judge(model, torch=True, openvino=True)
    table = json.loads((model.path / TABLE_FILE).read_text())
    int8 = Backend("openvino", "int8")
    table["backends"][int8.name] = {"accepted": True, "version": int8.version}
    (model.path / TABLE_FILE).write_text(json.dumps(table))
    assert int8 not in accepted_backends(model), "a table of before int8, and no file"
    (model.path / INT8_FILE).write_bytes(b"int8")
    assert int8 not in accepted_backends(model), "nobody judged this file"
    (model.path / TABLE_FILE).write_text(json.dumps({**table, "int8_sha256": hash_of_file(model.path / INT8_FILE)}))
    assert accepted_backends(model) == [REFERENCE, VINO, int8]
    (model.path / NETWORK_FILE).write_bytes(b"another network")
    assert accepted_backends(model) == [REFERENCE, int8]
    assert choose(model, wish="openvino/int8") == int8


def test_who_asks_for_float32_does_not_get_int8(model: ModelFolder) -> None:
    (model.path / TABLE_FILE).parent.mkdir()
    (model.path / INT8_FILE).write_bytes(b"int8")
    rows = {name: {"accepted": True, "version": Backend.parse(name).version} for name in ("torch/float32", "openvino/int8")}
    table = {"model_sha256": model.sha256, "network_sha256": "", "int8_sha256": hash_of_file(model.path / INT8_FILE)}
    (model.path / TABLE_FILE).write_text(json.dumps({**table, "backends": rows}))
    assert choose(model, precision="float32") == REFERENCE


def test_fastest_is_measured_once(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(model, torch=True, onnxruntime=True, openvino=True)
    seconds, measured = {"torch": 3.0, "onnxruntime": 1.0, "openvino": 2.0}, list[str]()

    def timed(forward: Any, shape: Any, *, dtype: torch.dtype) -> float:
        measured.append(forward)
        return seconds[forward]

    monkeypatch.setattr(backends, "open_backend", lambda backend, network, folder: backend.engine)
    monkeypatch.setattr(backends, "pass_seconds", timed)
    assert choose(model) == ORT
    assert choose(model) == ORT
    assert measured == ["torch", "onnxruntime", "openvino"]
    judge(model, torch=True, onnxruntime=False, openvino=True)
    assert choose(model) == VINO


def test_a_home_that_cannot_be_written_only_costs_time(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge(model, torch=True, onnxruntime=True)
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setattr(backends, "open_backend", lambda backend, network, folder: backend.engine)
    monkeypatch.setattr(backends, "pass_seconds", lambda forward, shape, dtype: {"torch": 2.0, "onnxruntime": 1.0}[forward])
    assert choose(model) == ORT


def test_a_user_without_a_home_has_a_cache_all_the_same(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    judge(model, torch=True, onnxruntime=True)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(backends.Path, "home", no_home)
    monkeypatch.setattr(backends.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(backends, "open_backend", lambda backend, network, folder: backend.engine)
    monkeypatch.setattr(backends, "pass_seconds", lambda forward, shape, dtype: {"torch": 2.0, "onnxruntime": 1.0}[forward])
    assert choose(model) == ORT
    assert len(list((tmp_path / "temporary").rglob("*.json"))) == 1


def test_precision_and_device_limit_the_choice(model: ModelFolder) -> None:
    judge(model, torch=True, onnxruntime=True)
    assert choose(model, precision="bfloat16") == Backend("torch", "bfloat16")
    assert choose(model, wish="torch") == REFERENCE
    assert choose(model, wish="onnxruntime") == ORT
    with pytest.raises(SettingsError, match="must have --device cpu, got cuda"):
        choose(model, wish="onnxruntime", precision="float32", device=torch.device("cuda"))


def test_wishes_that_cannot_be_met(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"must hold .*network.onnx for the backend openvino/float32, got none"):
        choose(model, wish="openvino")
    with pytest.raises(ModelError, match=r"must hold .*network_int8.onnx for the backend openvino/int8, got none"):
        choose(model, wish="openvino/int8")
    with pytest.raises(SettingsError, match="must be one of .* on this machine"):
        choose(model, wish="openvino/bfloat16")
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda module: None if module == "openvino" else module)
    assert VINO not in backends_here()
    with pytest.raises(SettingsError, match="pip install"):
        choose(model, wish="openvino")


def test_bfloat16_is_a_backend_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_fast_bfloat16", lambda device: True)
    found = backends_here()
    assert found[0] == REFERENCE
    assert Backend("torch", "bfloat16") in found
    assert Backend("onnxruntime", "bfloat16") not in found


def test_torch_is_the_network_itself(model: ModelFolder) -> None:
    class Counts(nn.Module):
        calls = 0

        def forward(self, image: Tensor) -> Tensor:
            self.calls += 1
            return image

    network = Counts()
    assert open_backend(REFERENCE, network, model) is network
    assert pass_seconds(network, SHAPE) >= 0
    assert network.calls == 3
