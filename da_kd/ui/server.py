"""Serves the pages, and the few files of runs that can be opened or saved, behind the guard."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from da_kd.errors import InputError, SetupError
from da_kd.ui.settings import Settings, is_loopback

_SANDBOX = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox "
_REPORT = {"content-security-policy": f"{_SANDBOX}allow-scripts; frame-ancestors 'self'"}


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve the app until Ctrl-C.

    Raises:
        InputError: the port is taken or none.
        SetupError: gradio is not installed.
    """
    check_port(settings.host, settings.port)
    application = make_application(settings)
    import uvicorn

    _tell(settings, say)
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
        server_header=False,
    )


def _tell(settings: Settings, say: Callable[[str], None]) -> None:
    host = settings.host if ":" not in settings.host else f"[{settings.host}]"
    say(f"The app is at http://{host}:{settings.port} (Ctrl-C ends it; runs go on).")
    if is_loopback(settings.host):
        name = f"{os.environ.get('USER', 'user')}@{socket.gethostname()}"
        say(f"From another machine: ssh -N -L {settings.port}:127.0.0.1:{settings.port} {name}")
    else:
        say(f"Open to other machines: whoever knows the password can start and stop runs in {settings.workspace}.")


def check_port(host: str, port: int) -> None:
    """Say at once that a port is taken.

    Raises:
        InputError: the port or the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The app cannot listen on {host}, port {port} ({error}). Try --port {port + 1}."
            ) from error


def make_application(settings: Settings) -> Any:
    """Return the whole server as an ASGI application.

    Raises:
        SetupError: gradio is not installed, or the workspace cannot be written.
    """
    cache = settings.cache
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"Expected to be allowed to write into {settings.workspace}; found: {error}.") from error
    # Read when gradio is imported: it would ask for its newest version and for the machine's address otherwise.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(cache), GRADIO_NODE_SERVER="False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio as gr
        from fastapi import FastAPI
    except ImportError as error:
        raise SetupError(
            f"The app needs gradio, which cannot be imported ({error}). Install it with \"pip install 'da-kd[app]'\"."
        ) from error
    from da_kd.ui.guard import MOST_UPLOADED, Guard
    from da_kd.ui.look import SCRIPT, STYLE, theme
    from da_kd.ui.pages import build

    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_files(application, settings)
    script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    gr.mount_gradio_app(
        application,
        build(settings),
        path="",
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=MOST_UPLOADED,
        theme=theme(),
        css=STYLE.read_text(encoding="utf-8"),
        head=script,
    )
    return Guard(application, settings)


def add_files(application: Any, settings: Settings) -> None:
    """Add the files of runs that a person may open: report, resolved recipe, log, weights."""
    from fastapi.responses import FileResponse, PlainTextResponse, Response

    from da_kd.ui.access import existing_run
    from da_kd.ui.queries.runs import exported_files, outputs

    def answer(find: Callable[[], Path], name: str, kind: str, headers: dict[str, str] | None = None) -> Response:
        try:
            path = find()
        except InputError as error:
            return PlainTextResponse(str(error), 404)
        if not path.is_file():
            return PlainTextResponse("This is not made yet.", 404)
        how = "inline" if kind == "text/html" and headers else "attachment"
        return FileResponse(path, media_type=kind, filename=name, content_disposition_type=how, headers=headers)

    @application.get("/run/{run}/report")  # type: ignore[untyped-decorator]
    def report(run: str, download: bool = False) -> Response:
        headers = None if download else _REPORT
        find = lambda: existing_run(settings, run).folder / "report" / "index.html"  # noqa: E731
        return answer(find, f"{run}-report.html", "text/html", headers)

    @application.get("/run/{run}/recipe")  # type: ignore[untyped-decorator]
    def recipe(run: str) -> Response:
        return answer(lambda: existing_run(settings, run).folder / "recipe.yaml", f"{run}.yaml", "application/yaml")

    @application.get("/run/{run}/log")  # type: ignore[untyped-decorator]
    def log(run: str) -> Response:
        return answer(lambda: existing_run(settings, run).folder / "launch.log", f"{run}.log", "text/plain")

    @application.get("/run/{run}/weights/{step}")  # type: ignore[untyped-decorator]
    def weights(run: str, step: str) -> Response:
        def find() -> Path:
            return outputs(existing_run(settings, run)).get(step, Path("/nowhere")) / "weights.pt"

        return answer(find, f"{run}-{step.replace(':', '-')}.pt", "application/octet-stream")

    @application.get("/run/{run}/export/{name}")  # type: ignore[untyped-decorator]
    def export(run: str, name: str) -> Response:
        def find() -> Path:
            there = {path.name: path for path in exported_files(existing_run(settings, run))}
            return there.get(name, Path("/nowhere"))

        return answer(find, name, "application/octet-stream")
