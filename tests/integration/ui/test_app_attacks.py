"""Whatever a request says: no path outside is read or written, no stranger is answered, no handler fails openly."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SECRET = "the-content-of-a-file-that-is-nobodys-business"  # noqa: S105
OPEN = "0.0.0.0"  # noqa: S104


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def raw(app, method, path, **headers):
    """Send a request as it stands, nothing tidied up; return status, content and where it leads."""
    with closing(http.client.HTTPConnection("127.0.0.1", app.port, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("location")


@pytest.fixture(scope="module")
def secret(project) -> Path:
    path = project.parent / "secret.yaml"
    path.write_text(SECRET)
    return path


@pytest.fixture(scope="module")
def handlers(app):
    config = json.loads(app.ask("/config")[1])
    kinds = {item["id"]: item["type"] for item in config["components"]}
    return [
        (item["id"], [kinds[number] for number in item["inputs"]])
        for item in config["dependencies"]
        if item["backend_fn"]
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../secret.yaml",
        "/gradio_api/file={secret}",
        "/gradio_api/file=runs/../../secret.yaml",
        "/gradio_api/file=https://example.org/",
        "/gradio_api/file=http:/example.org/",
        "/gradio_api/proxy=https://example.org/",
        "/run/..%2f..%2fsecret/report",
        "/run/%2e%2e/report",
        "/run/..%2f../log",
        "/run/x/weights/..%2f..%2fsecret",
        "/run/x/export/..%2f..%2fsecret.yaml",
        "/run/x/export/recipe.yaml",
        "/run/store/recipe",
        "/run/.app/log",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/assets/../../../../../../../etc/passwd",
        "/../secret.yaml",
        "/gradio_api/openapi.json",
        "/docs",
        "/monitoring",
        "/gradio_api/runs",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-code/",
    ],
)
def test_no_path_leads_to_a_file_outside(app, secret, path):
    status, content, location = raw(app, "GET", path.format(secret=secret))
    assert status in (400, 403, 404, 405, 421), (path, status)
    assert SECRET.encode() not in content and b"root:" not in content
    assert location is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_foreign_host_is_refused(app, host):
    assert raw(app, "GET", "/", Host=host)[0] in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "localhost:1234", "[::1]:7860"])
def test_a_tunnel_may_end_at_any_port_of_this_machine(app, host):
    assert app.ask("/config", Host=host)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost.evil"])
def test_a_foreign_origin_is_refused(app, origin):
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "x"}).encode()
    assert app.ask("/gradio_api/queue/join", body, content_type="application/json", Origin=origin)[0] == 403
    assert app.ask("/gradio_api/upload", b"", Origin=origin)[0] == 403


def test_another_site_may_link_here_but_not_reach_in(app):
    assert app.ask("/", Sec_Fetch_Site="cross-site")[0] == 200
    assert app.ask("/config", Sec_Fetch_Site="cross-site")[0] == 403
    assert app.ask("/gradio_api/queue/join", b"{}", Sec_Fetch_Site="same-site")[0] == 403


def test_what_is_too_large_is_refused(app):
    assert raw(app, "POST", "/gradio_api/queue/join", Content_Length=str(5 << 20))[0] == 413
    assert raw(app, "POST", "/gradio_api/upload", Content_Length=str(300 << 20))[0] == 413


def test_nothing_that_the_page_loads_is_from_elsewhere(app):
    content = app.ask("/")[1].decode()
    _, _, headers = app.ask("/")
    assert "fonts.googleapis.com" not in content and "cdnjs" not in content
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


NASTY = (
    "../secret",
    "../../etc/passwd",
    "/etc/passwd",
    "",
    None,
    -1,
    1e308,
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "x", "url": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}},
    ["a"] * 3,
    "x" * 5000,
)


def test_every_handler_bears_every_input(app, handlers, project, secret):
    before = sorted(path.name for path in project.parent.rglob("*") if ".app" not in path.parts)
    assert len(handlers) > 30
    reached, asked = 0, 0
    for index, kinds in handlers:
        for nasty in NASTY[index % 3 :: 3]:
            said = app.call(index, [nasty] * len(kinds), f"s{index}")
            reached, asked = reached + ("process_completed" in said), asked + 1
            assert SECRET not in said and "root:x" not in said, (index, nasty)
            assert "Traceback" not in said, (index, nasty, said)
    assert reached == asked  # hiding a handler does not close it
    after = sorted(path.name for path in project.parent.rglob("*") if ".app" not in path.parts)
    assert after == before
    assert app.ask("/config")[0] == 200


def start_handler(handlers):
    """Return the handlers that take a recipe's text."""
    return [index for index, kinds in handlers if kinds[:1] == ["code"]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data: {root: /, target: {path: etc}}", "outside the folders"),
        ("data: {root: ., target: {path: ../../../etc}}", "outside the folders"),
        ("data: {target: {path: x}}\nteachers: [{name: a, weights: /etc/passwd}]", "outside the folders"),
        ("name: ${HOME}", "may use ${DA_KD_DATA} alone"),
        ("a: &a [1,1]\nb: &b [*a,*a]\nc: [" + ",".join(["*b"] * 30) + "]", "aliases"),
        ("x" * 60_000, "at most 50000 characters"),
        ("[" * 3000, "mistake"),
    ],
)
def test_recipes_typed_in_the_page_stay_inside(app, handlers, project, change, told):
    base = "schema: 1\nname: x\nclasses: [a]\ndata: {target: {path: x}}\nteachers: [{name: a, weights: w.pt}]\n"
    keys = {line.split(":")[0] for line in change.splitlines()}
    kept = "\n".join(line for line in base.splitlines() if line.split(":")[0] not in keys)
    for index in start_handler(handlers):
        said = app.call(index, [f"{kept}\n{change}", None, "attack"], f"r{index}")
        assert told in said or "error" in said, said
        assert os.environ["HOME"] not in said or "HOME" not in change
    assert not (project / "runs" / "attack" / "launch.json").exists()


def test_a_file_that_is_no_picture_is_not_taken(app, handlers, project):
    files = {"x.png": b"no picture", "x.mp4": b"no video", "x.pt": b"\x80\x04", "x.svg": b"<svg/>"}
    for name, content in files.items():
        status, said, _ = upload(app, name, content)
        assert status == 200
        path = json.loads(said)[0]
        for index, kinds in handlers:
            if kinds[:1] == ["file"]:
                data = {"path": path, "meta": {"_type": "gradio.FileData"}}
                answer = app.call(index, [data, "a", "b", None, 0.3, 0], f"u{index}")
                assert "Expected" in answer or "error" in answer, answer


def test_weights_are_refused_as_a_side_unless_the_operator_allows_them(app, handlers, project):
    """Neither the upload itself, nor a path to what was uploaded, leads to a process that would load it."""
    run = project / "runs" / "there"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"state": "done"}')
    path = json.loads(upload(app, "x.pt", b"\x80\x04")[1])[0]
    data = {"path": path, "meta": {"_type": "gradio.FileData"}}
    (side,) = (index for index, kinds in handlers if kinds == ["dropdown", "textbox", "file"])
    try:
        assert "--allow-weights" in app.call(side, ["there", "", data], "w1")
        for typed in (path, os.path.relpath(path, project)):
            assert "outside the folders" in app.call(side, ["there", typed, None], "w2")
        assert sorted(item.name for item in run.iterdir()) == ["run.json"]
    finally:
        shutil.rmtree(run)


def upload(app, name, content):
    body = (
        (b'--b\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\n')
        + content
        + b"\r\n--b--\r\n"
    )
    return app.ask("/gradio_api/upload", body, content_type="multipart/form-data; boundary=b")


def test_an_open_address_demands_a_password(project):
    refused = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--host", OPEN],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("DA_KD_APP")},
    )
    assert refused.returncode == 2
    assert "--host 0.0.0.0 opens the app to other machines" in refused.stderr
    missing = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--host", OPEN, "--auth"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("DA_KD_APP")},
    )
    assert missing.returncode == 2
    assert "DA_KD_APP_USER" in missing.stderr


def test_without_the_password_nothing_is_answered(project, start_app):
    login = {"DA_KD_APP_USER": "eve", "DA_KD_APP_PASSWORD": "correct horse"}
    running = start_app(project, "--host", OPEN, "--auth", **login)
    try:
        paths = ["/", "/config", "/theme.css", "/gradio_api/queue/data?session_hash=x", "/run/mine/report"]
        for path in paths:
            assert running.ask(path)[0] == 401
        assert running.ask("/gradio_api/queue/join", b"{}", content_type="application/json")[0] == 401
        assert running.ask("/gradio_api/upload", b"")[0] == 401
        assert running.ask("/", **basic("eve", "wrong"))[0] == 401
        assert running.ask("/", **basic("eve", "correct horse"))[0] == 200
        assert running.ask("/", Host="evil.example", **basic("eve", "correct horse"))[0] == 421
        assert "correct horse" not in running.log.read_text()
    finally:
        running.kill()
