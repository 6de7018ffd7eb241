"""On the path of every process of a test: what is looked up or connected to in a network is written down."""

from __future__ import annotations

import os
import sys
from typing import Any

EVENTS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "urllib.Request")


def _write_down(event: str, details: tuple[Any, ...]) -> None:
    if event not in EVENTS:
        return
    place = next((detail for detail in details if isinstance(detail, tuple | str | bytes)), "")
    if event in ("socket.connect", "socket.sendto") and not isinstance(place, tuple):
        return  # a socket of this machine's own files
    host = str(place[0] if isinstance(place, tuple) else place)
    if host not in ("127.0.0.1", "::1", "localhost", "None"):
        with open(os.environ["SEGSUITE_HEARD"], "a", encoding="utf-8") as stream:
            stream.write(f"{event} {place} by {' '.join(sys.argv)[:200]}\n")


sys.addaudithook(_write_down)
