"""The routes, over a desk whose worker calls bright voxels structure 1; the page in a real browser."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.testclient import TestClient

from segsuite.engines.inputs import InputCase
from segsuite.service.app import Served, make_app
from segsuite.service.desk import Desk
from segsuite.service.limits import Limits

SERVED = Served("bright", "supervised", "abc", ("T2w", "ADC"), {"background": 0, "bright": 1})
SINGLE = Served("bright", "supervised", "abc", ("T2w",), {"background": 0, "bright": 1})
LIMITS = Limits(most_bytes=1_000_000, most_voxels=2000)


def call_bright(case: InputCase, out: Path) -> str:
    image = nib.load(case.images[0])
    if image.shape[2] == 3:
        return f"{case.images[0]} must have another number of slices"
    out.mkdir()
    nib.save(nib.Nifti1Image((image.get_fdata() > 0.5).astype(np.uint8), image.affine), out / case.output)
    return "done"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(call_bright, tmp_path / "jobs", most_waiting=2, most_kept=5)
    yield desk
    desk.close()


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return TestClient(make_app(desk, SINGLE, LIMITS))


@pytest.fixture
def scan(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    return write_nifti(tmp_path / "my scan.nii.gz", np.random.default_rng(0).random((8, 9, 10)).astype(np.float32), spacing=2.0)


def upload(path: Path, name: str | None = None) -> dict[str, tuple[str, bytes]]:
    return {"image": (name or path.name, path.read_bytes())}


def test_an_image_comes_back_as_its_mask(client: TestClient, scan: Path, tmp_path: Path) -> None:
    answer = client.post("/segment", files=upload(scan))
    assert answer.status_code == 200
    assert 'filename="my_scan_mask.nii.gz"' in answer.headers["content-disposition"]
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    image, mask = nib.load(scan), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), image.get_fdata() > 0.5)
    np.testing.assert_array_equal(mask.affine, image.affine)


def test_a_job_is_followed_to_its_mask_and_view_and_dropped(client: TestClient, scan: Path, desk: Desk) -> None:
    started = client.post("/jobs", files=upload(scan))
    assert started.status_code == 202
    place = started.headers["location"]
    job = desk.find(started.json()["job"])
    assert job is not None
    job.ended.result(20)
    state = client.get(place).json()
    assert (state["state"], state["reason"], state["mask"]) == ("done", "", True)
    assert client.get(f"{place}/mask").content == job.mask.read_bytes()
    assert client.get(f"{place}/report").status_code == 404
    assert "viewer-canvas" in client.get(f"{place}/view").text
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert not job.folder.exists()


def test_what_it_serves_and_counts(client: TestClient, scan: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    assert client.get("/health").json() == {
        "status": "ok", "model": "bright", "pipeline": "supervised", "sha256": "abc", "channels": ["T2w"],
        "labels": {"background": 0, "bright": 1}, "waiting": 0,
    }  # fmt: skip
    client.post("/segment", files=upload(scan))
    client.post("/segment", files=upload(write_nifti(tmp_path / "bad.nii.gz", np.ones((4, 4, 3), np.float32))))
    counted = client.get("/metrics").text
    assert 'segsuite_jobs_total{result="done"} 1.0' in counted
    assert 'segsuite_jobs_total{result="failed"} 1.0' in counted
    assert "segsuite_job_seconds_count 2.0" in counted
    assert "segsuite_jobs_waiting 0.0" in counted


def test_refused_input_says_why_and_keeps_no_place(client: TestClient, scan: Path, tmp_path: Path, desk: Desk) -> None:
    large = nib.Nifti1Image(np.zeros((20, 20, 20), np.uint8), np.eye(4))
    nib.save(large, tmp_path / "large.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 3), np.float32), np.eye(4)), tmp_path / "three.nii.gz")
    (tmp_path / "no.nii.gz").write_bytes(b"no image")
    for files, code, words in (
        ({}, 422, "must have 1 files `image` (T2w), got 0"),
        (upload(scan, "scan.png"), 415, "must be .nii.gz or .nii or .zip or .tar or "),
        (upload(tmp_path / "no.nii.gz"), 422, "image_0000.nii.gz must be a complete image file"),
        (upload(tmp_path / "large.nii.gz"), 413, "at most 2,000 voxels, got 8,000"),
        (upload(tmp_path / "three.nii.gz"), 422, "image_0000.nii.gz must have another number of slices"),
    ):
        answer = client.post("/segment", files=files)
        assert answer.status_code == code
        assert words in answer.text
        assert str(tmp_path) not in answer.text
    assert client.post("/segment", content=b"x" * 2_000_000).status_code == 413
    assert desk.n_waiting == 0
    assert not [path for path in (tmp_path / "jobs").iterdir() if not (path / "image_0000.nii.gz").is_file()]


def test_a_header_that_breaks_its_reader_is_refused_with_a_reason(
    client: TestClient, scan: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise zlib.error("Error -3 while decompressing data")

    monkeypatch.setattr("segsuite.service.app.read_grid", broken)
    answer = client.post("/segment", files=upload(scan))
    assert (answer.status_code, desk.n_waiting) == (422, 0)
    assert answer.text.startswith('{"detail":"zlib.error: Error -3 while decompressing data. It came while its files were read.')
    monkeypatch.undo()
    assert client.post("/segment", files=upload(scan)).status_code == 200


def test_too_many_are_told_to_come_later(client: TestClient, scan: Path, desk: Desk) -> None:
    desk.open_job(), desk.open_job()
    answer = client.post("/segment", files=upload(scan))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    assert 'segsuite_jobs_total{result="refused"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("name", ["../../escaped.nii.gz", "/etc/cron.d/x.nii.gz", "..\\x.nii.gz", "a\nb.nii.gz"])
def test_a_name_never_becomes_a_path(client: TestClient, scan: Path, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "jobs" not in path.parts}
    assert client.post("/segment", files=upload(scan, name)).status_code == 200
    assert {path for path in tmp_path.rglob("*") if "jobs" not in path.parts} == before
    assert {path.name for path in (tmp_path / "jobs").rglob("*.nii.gz")} == {"image_0000.nii.gz", "mask.nii.gz"}


@pytest.mark.parametrize("path", ["/jobs/../../etc/passwd", "/jobs/%2e%2e%2f%2e%2e/mask", "/jobs/..%2f..%2fscan.nii.gz/mask"])
def test_no_file_outside_is_reachable(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_channels_come_in_order(desk: Desk, scan: Path) -> None:
    client = TestClient(make_app(desk, SERVED, LIMITS))
    files = [("image", ("a.nii.gz", scan.read_bytes())), ("image", ("b.nii.gz", scan.read_bytes()))]
    job = desk.find(client.post("/jobs", files=files).json()["job"])
    assert job is not None
    assert [path.name for path in job.images] == ["image_0000.nii.gz", "image_0001.nii.gz"]
    assert client.post("/segment", files=files[:1]).status_code == 422


@pytest.mark.slow
def test_the_page_shows_the_mask_of_what_is_dropped_on_it(desk: Desk, scan: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs a browser, chromium is not installed (Debian: apt-get install chromium)")
    app = make_app(desk, SINGLE, LIMITS)
    _add_robot(app, scan)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        flags = ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
        flags += ["--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--virtual-time-budget=20000"]
        command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"http://127.0.0.1:{port}/robot"]
        dom = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout
    finally:
        server.should_exit = True
        thread.join(20)
    assert 'data-robot="done in' in dom
    assert "shown=scan" in dom


def _add_robot(app: FastAPI, scan: Path) -> None:
    """The same page with a script that drops a file on it, waits, and writes down what the frame then shows."""
    page = TestClient(app).get("/").text
    script = f"""<script>
    const bytes = Uint8Array.from(atob("{base64.b64encode(scan.read_bytes()).decode()}"), (c) => c.charCodeAt(0));
    const carried = new DataTransfer(); carried.items.add(new File([bytes], "scan.nii.gz"));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {{ dataTransfer: carried }}));
    document.getElementById("form").requestSubmit();
    setTimeout(() => {{
      const inner = document.getElementById("view").contentDocument.getElementById("viewer-state");
      document.body.dataset.robot = document.getElementById("state").textContent + " shown=" + inner.dataset.shown;
    }}, 12000);
    </script></body>"""
    app.add_api_route("/robot", lambda: HTMLResponse(page.replace("</body>", script)), methods=["GET"], response_model=None)
