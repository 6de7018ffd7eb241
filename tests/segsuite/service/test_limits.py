"""Who is let in, and with how much."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from segsuite.service.limits import LOOPBACK, Gate, Limits, is_loopback


def client(limits: Limits) -> TestClient:
    app = FastAPI()

    async def echo(request: Request) -> int:
        return len(await request.body())

    for path in ("/", "/health", "/segment"):
        app.add_api_route(path, echo, methods=["GET", "POST"], response_model=None)
    app.add_middleware(Gate, limits=limits)
    return TestClient(app, base_url="http://localhost:8000")


def test_the_token_opens_and_nothing_else_does() -> None:
    asked = client(Limits(token="secret"))
    assert [asked.get(path).status_code for path in ("/", "/health", "/segment")] == [200, 200, 401]
    for shown in ("Bearer wrong", "secret", "Basic secret", "Bearer "):
        assert asked.get("/segment", headers={"Authorization": shown}).status_code == 401
    assert asked.get("/segment", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_other_names_and_other_pages_are_kept_out() -> None:
    asked = client(Limits(hosts=LOOPBACK))
    assert asked.get("/segment").status_code == 200
    assert asked.get("/segment", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert asked.get("/segment", headers={"Host": "[::1]:8000"}).status_code == 200
    assert asked.get("/segment", headers={"Host": "rebound.example:8000"}).status_code == 403
    assert asked.post("/segment", headers={"Origin": "http://elsewhere.example"}).status_code == 403
    assert asked.post("/segment", headers={"Origin": "http://localhost:8000"}).status_code == 200
    assert asked.post("/segment", headers={"Origin": "null"}).status_code == 403


def test_the_size_is_kept_whether_it_is_announced_or_not() -> None:
    asked = client(Limits(most_bytes=1000))
    assert asked.post("/segment", content=b"x" * 1000).json() == 1000
    assert asked.post("/segment", content=b"x" * 1001).status_code == 413
    parts = (b"x" * 400 for _ in range(3))  # chunked: nothing announces the size
    assert asked.post("/segment", content=parts).status_code == 413
    assert asked.post("/segment", content=b"x", headers={"Content-Length": "many"}).status_code in (400, 413)


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("0.0.0.0", False)])
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) == own


def test_what_goes_wrong_behind_the_gate_is_a_sentence() -> None:
    app = FastAPI()

    async def breaks() -> None:
        raise RecursionError("/srv/secret/path")

    app.add_api_route("/segment", breaks, response_model=None)
    app.add_middleware(Gate, limits=Limits())
    answer = TestClient(app).get("/segment")
    assert (answer.status_code, answer.text) == (
        500,
        "The service could not answer, got RecursionError. Hand the image in again.\n",
    )
