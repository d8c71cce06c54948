"""``da-kd app``: serves the browser app until Ctrl-C. Knows its options; what it does stands in :mod:`da_kd.ui`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from da_kd.cli.words import WORKSPACE


def app(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port.")] = 7860,
    auth: Annotated[
        bool, typer.Option("--auth", help="Demand the user and password of DA_KD_APP_USER and DA_KD_APP_PASSWORD.")
    ] = False,
    auth_file: Annotated[
        Path | None, typer.Option("--auth-file", metavar="FILE", help="Take them from a file instead: user:password.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name under which the app is opened; may be repeated.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DIR", help="A folder that recipes from the page may name; may be repeated."),
    ] = None,
    workspace: Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The folder of runs.")] = WORKSPACE,
    allow_weights: Annotated[
        bool, typer.Option("--allow-weights", help="Let weights be uploaded; loading them can run code.")
    ] = False,
) -> None:
    """Open the browser app.

    It serves this machine alone; another address demands --auth.
    """
    from da_kd.cli.terminal import say
    from da_kd.ui.server import serve
    from da_kd.ui.settings import make_settings

    settings = make_settings(
        Path.cwd(),
        workspace=workspace,
        data=tuple(data or ()),
        host=host,
        port=port,
        names=tuple(name or ()),
        auth=auth,
        auth_file=auth_file,
        allow_weights=allow_weights,
    )
    serve(settings, say)
