"""What a request must fulfil before anything of it is read: its size, its token, and where it comes from."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

__all__ = ["LOOPBACK", "Gate", "Limits", "is_loopback"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/", "/health")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        most_bytes: Of one request.
        most_voxels: Of one image, by its header: a small file may hold a huge one.
        token: What a client must show; ``None``: nothing.
        hosts: Names by which the service may be called; empty: any.
    """

    most_bytes: int = 512_000_000
    most_voxels: int = 400_000_000
    token: str | None = None
    hosts: tuple[str, ...] = ()


class TooLargeError(Exception):
    """More bytes came than were announced or allowed."""


class Gate:
    """Refuses in front of the application: 401, 403, 413; what goes wrong behind it is a sentence: 500."""

    def __init__(self, app: Application, limits: Limits) -> None:
        """Set up.

        Args:
            app: What is behind.
            limits: What it takes.
        """
        self.app, self.limits = app, limits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        is_begun = False

        async def told(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self.app(scope, _counted(receive, self.limits.most_bytes), told)
        except TooLargeError:
            await self._too_large()(scope, receive, send)
        except Exception as error:
            if is_begun:
                raise  # half an answer must not look like a whole one
            text = f"The service could not answer, got {type(error).__name__}. Hand the image in again.\n"
            await PlainTextResponse(text, 500)(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> PlainTextResponse | None:
        host = _host_of(headers.get("host", ""))
        origin = headers.get("origin")
        if self.limits.hosts and host not in self.limits.hosts:
            return PlainTextResponse(f"The service must be called by one of {self.limits.hosts}, got `{host}`.\n", 403)
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return PlainTextResponse("Pages of other origins must not use this service.\n", 403)
        if self.limits.token is not None and path not in OPEN_PATHS and not self._shows_token(headers):
            return PlainTextResponse("A request must carry `Authorization: Bearer TOKEN`.\n", 401, {"WWW-Authenticate": "Bearer"})
        announced = headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > self.limits.most_bytes:
            return self._too_large()
        return None

    def _shows_token(self, headers: Headers) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        expected = (self.limits.token or "").encode()
        return kind.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), expected)

    def _too_large(self) -> PlainTextResponse:
        return PlainTextResponse(f"A request must have at most {self.limits.most_bytes / 1e6:.0f} MB.\n", 413)


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    return host in LOOPBACK or host.startswith("127.")


def _host_of(header: str) -> str:
    """Name or address without port."""
    return urlsplit(f"//{header}").hostname or ""


def _counted(receive: Receive, most_bytes: int) -> Receive:
    n_bytes = 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > most_bytes:
            raise TooLargeError
        return message

    return counted
