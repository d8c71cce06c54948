"""The gate before every request, asked directly."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import shutil
import threading

import pytest

from da_kd import files
from da_kd.ui import guard
from da_kd.ui.guard import Guard
from da_kd.ui.settings import Login


async def _inner(scope, receive, send):
    received = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        received += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(received).encode()})


def ask(settings, path="/", method="GET", body=(b"",), **headers):
    """Return status and headers of one request; 0 where the server hung up."""
    given = {"host": f"127.0.0.1:{settings.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    parts = [{"type": "http.request", "body": part, "more_body": i + 1 < len(body)} for i, part in enumerate(body)]
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(_inner, settings)(scope, receive, send))
    return (sent[0]["status"], dict(sent[0]["headers"])) if sent else (0, {})


@pytest.fixture
def closed(settings, monkeypatch):
    monkeypatch.setattr(guard, "_PAUSE", 0.0)
    return dataclasses.replace(settings, host="0.0.0.0", login=Login("eve", "correct horse"))  # noqa: S104


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_page_itself_is_let_through(settings):
    status, headers = ask(settings)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize("path", ["/gradio_api/run-history/records", "/docs", "/gradio_api/component_server", "/x"])
def test_what_the_page_does_not_need_stays_closed(settings, path):
    assert ask(settings, path)[0] == 404
    assert ask(settings, path, "POST")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(settings, method):
    assert ask(settings, "/", method)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_foreign_names_are_refused_where_only_this_machine_is_served(settings, host):
    assert ask(settings, host=host)[0] == 421


def test_an_address_is_a_name_where_others_are_served(closed):
    assert ask(closed, host="192.168.1.5:7860", authorization=basic("eve:correct horse"))[0] == 200
    assert ask(closed, host="evil.example", authorization=basic("eve:correct horse"))[0] == 421
    named = dataclasses.replace(closed, names=("lab.example",))
    assert ask(named, host="lab.example", authorization=basic("eve:correct horse"))[0] == 200


def test_no_request_waits_for_a_name_server_that_is_down(closed, monkeypatch):
    answered, asked = threading.Event(), []

    def slowly():
        asked.append(threading.current_thread())
        answered.wait(60)
        return "Full.Name.Example"

    monkeypatch.setattr(guard.socket, "getfqdn", slowly)
    served = Guard(_inner, closed)
    assert served._knows("192.168.1.5:7860") and served._knows(guard.socket.gethostname())
    assert not served._knows("full.name.example") and not served._knows("evil.example")
    answered.set()
    asked[0].join()
    assert served._knows("full.name.example") and not served._knows("evil.example")
    assert len(asked) == 1


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", basic("eve"), basic("eve:wrong"), "Bearer x", basic("")])
def test_a_wrong_password_is_refused(closed, header):
    given = {"authorization": header} if header else {}
    status, headers = ask(closed, **given)
    assert status == 401
    assert b"www-authenticate" in headers


def test_another_page_is_refused(settings):
    join = "/gradio_api/queue/join"
    assert ask(settings, join, "POST", origin="https://evil.example")[0] == 403
    assert ask(settings, join, "POST", origin="http://127.0.0.1:1")[0] == 403
    assert ask(settings, join, "POST", origin=f"http://127.0.0.1:{settings.port}")[0] == 200
    assert ask(settings, join, "POST", sec_fetch_site="cross-site")[0] == 403


def test_more_than_is_said_is_cut_off(settings):
    part = b"x" * (1 << 20)
    assert ask(settings, "/gradio_api/queue/join", "POST", content_length=str(5 << 20))[0] == 413
    assert ask(settings, "/gradio_api/queue/join", "POST", content_length="many")[0] == 413
    assert ask(settings, "/gradio_api/queue/join", "POST", body=[part] * 5)[0] == 0
    assert ask(settings, "/gradio_api/upload", "POST", body=[part] * 5)[0] == 200


def test_web_sockets_are_closed(settings):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(_inner, settings)({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert sent[0]["type"] == "websocket.close"


def test_an_upload_that_no_disk_has_room_for_is_refused(settings, monkeypatch):
    settings.cache.mkdir(parents=True)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    assert ask(settings, "/gradio_api/upload", "POST", content_length="1000")[0] == 507
    assert ask(settings, "/gradio_api/queue/join", "POST", content_length="1000")[0] == 200
