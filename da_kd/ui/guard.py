"""The gate before every request: who asks, from which page, under which name, for what, and how much it sends.

Plain ASGI around the whole server, so that no route of any library stands outside it. Knows no gradio and no run.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from da_kd.files import lack_of_room
from da_kd.ui.settings import Login, Settings, is_loopback

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_UPLOADED = 256 << 20  # bytes of a file
_MOST_SENT = 4 << 20  # bytes of any other request
_PAUSE = 1.0  # seconds before a wrong password is answered

# What the page asks for; whatever else the libraries serve stays closed.
_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*"
    r"|/gradio_api/(theme\.css|startup-events|info/?|app_id/?|heartbeat/\w+|queue/data|upload_progress)"
    r"|/gradio_api/file=.*|/run/[^/]+/(report|recipe|log|weights/[^/]+|export/[^/]+)"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|run/predict/?|cancel|upload|reset/?)")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = (
    b"content-security-policy",
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self' blob:; frame-src 'self' http://127.0.0.1:* http://localhost:*; frame-ancestors 'self'; "
    b"form-action 'self'; base-uri 'self'",
)


class Guard:
    """An ASGI application that lets only right requests through to another."""

    def __init__(self, inner: Application, settings: Settings) -> None:
        self._inner, self._settings = inner, settings
        self._own = {settings.host.lower(), socket.gethostname().lower()}
        if not is_loopback(settings.host):
            threading.Thread(target=self._learn_full_name, daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":  # the page needs no web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        status, text = self._refusal(scope, headers)
        if status == 401:  # noqa: PLR2004
            if b"authorization" in headers:
                await asyncio.sleep(_PAUSE)
            await _answer(send, status, text, [(b"www-authenticate", b'Basic realm="da_kd", charset="UTF-8"')])
        elif status:
            await _answer(send, status, text)
        else:
            most = MOST_UPLOADED + (1 << 16) if scope["path"] == "/gradio_api/upload" else _MOST_SENT
            await self._inner(scope, _limited(receive, most), _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str]:
        """Return the status and the sentence that a request is refused with; 0 where it is not."""
        host = headers.get(b"host", "")
        if not self._knows(host):
            return 421, "This app is not served under that name. Open it by its address, or start it with --name NAME."
        if not _same_origin(host, scope["path"], headers):
            return 403, "This request comes from another page; the app answers its own alone."
        if self._settings.login is not None and not _is_user(headers.get(b"authorization", ""), self._settings.login):
            return 401, "A user and a password are needed."
        allowed = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(scope["method"])
        if allowed is None or not allowed.fullmatch(scope["path"]) or _leads_away(scope["path"]):
            return 404, "There is nothing here."
        return self._too_much(scope["path"] == "/gradio_api/upload", headers.get(b"content-length", "0"))

    def _too_much(self, uploaded: bool, length: str) -> tuple[int, str]:
        """Return the status and the sentence that a length is refused with; 0 where it is not."""
        most = MOST_UPLOADED + (1 << 16) if uploaded else _MOST_SENT
        if not length.isdigit() or int(length) > most:
            return 413, f"Expected at most {most >> 20} MB; found more."
        lack = lack_of_room(self._settings.cache, 2 * int(length)) if uploaded else ""  # it is written twice
        return (507, lack) if lack else (0, "")

    def _knows(self, host: str) -> bool:
        """Say whether the app goes by this name; a foreign one that leads here is an attack on the browser."""
        name = urlsplit(f"//{host}").hostname if host else None
        if name is None:
            return False
        if is_loopback(name) or name in self._settings.names:
            return True
        if is_loopback(self._settings.host):
            return False
        return _is_address(name) or name in self._own

    def _learn_full_name(self) -> None:
        """Ask what the network calls this machine; a name server that is down takes seconds to say nothing."""
        self._own.add(socket.getfqdn().lower())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(host: str, path: str, headers: dict[bytes, str]) -> bool:
    """Say whether a request comes from the app's own page, or from a person who opens it."""
    origin = headers.get(b"origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    return path == "/" or headers.get(b"sec-fetch-site", "same-origin") in ("same-origin", "none")


def _is_user(header: str, login: Login) -> bool:
    kind, _, given = header.partition(" ")
    try:
        text = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    wanted = f"{login.user}:{login.password}".encode()
    return kind.lower() == "basic" and hmac.compare_digest(text, wanted)


def _leads_away(path: str) -> bool:
    """Say whether a file that is asked for is an address, which would be followed."""
    return path.startswith("/gradio_api/file=") and "://" in path.replace(":/", "://").replace(":///", "://")


def _limited(receive: Receive, most: int) -> Receive:
    """Return a receiver that hangs up on a request that sends more than it may."""
    received = 0

    async def take() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > most else message

    return take


def _with_headers(send: Send) -> Send:
    async def put(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            own = any(name.lower() == _POLICY[0] for name, _ in given)
            message = {**message, "headers": [*given, *_HEADERS, *([] if own else [_POLICY])]}
        await send(message)

    return put


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = text.encode()
    own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *_HEADERS, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
