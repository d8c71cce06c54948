"""FiftyOne's own server, whose pages load nothing from elsewhere; a process of its own.

FiftyOne's page asks a font service of another host, which a browser without a network waits for. A policy in the header
of every answer forbids fonts, styles and scripts that are not the server's own; all else is FiftyOne's ``main.py``.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

POLICY = (
    "font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: data:"
)

App = Callable[[Any, Any, Any], Awaitable[None]]


class OwnOnly:
    """Adds the policy to every answer.

    Args:
        app: the ASGI application that answers.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, with_policy if scope["type"] == "http" else send)


def main() -> None:
    """Serve, as FiftyOne does, with the arguments of its ``main.py``."""
    os.environ.pop("FIFTYONE_DISABLE_SERVICES", None)  # as FiftyOne's main.py does before it imports itself
    os.environ["FIFTYONE_SERVER"] = "1"
    from fiftyone import constants
    from fiftyone.server.app import app

    app.add_middleware(OwnOnly)
    runpy.run_path(str(Path(constants.SERVER_DIR) / "main.py"), run_name="__main__")


if __name__ == "__main__":
    main()
