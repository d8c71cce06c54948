"""What the person who starts the browser app decides, checked before anything is served. Knows no gradio."""

from __future__ import annotations

import ipaddress
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from da_kd.errors import InputError

USER, PASSWORD = "DA_KD_APP_USER", "DA_KD_APP_PASSWORD"
_SHORTEST = 8  # characters of a password


@dataclass(frozen=True)
class Login:
    """Who may use the app from elsewhere."""

    user: str
    password: str


@dataclass(frozen=True)
class Settings:
    """How the app is served, and which folders it may touch.

    Attributes:
        start: the folder it was started in; commands run there.
        workspace: holds the runs; the only folder that is written into.
        recipes: recipes to begin with.
        roots: folders that recipes from the page may name images, labels and weights in.
        host: the address it listens on.
        port: likewise.
        names: further host names that requests may be addressed to.
        login: demanded of every request; None where only this machine is served.
        allow_weights: whether weights may be uploaded; loading them can run code.
    """

    start: Path
    workspace: Path
    recipes: Path
    roots: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 7860
    names: tuple[str, ...] = ()
    login: Login | None = None
    allow_weights: bool = False

    @property
    def cache(self) -> Path:
        """The folder that uploads and drawn pictures go to."""
        return self.workspace / ".app"

    def short(self, path: Path) -> str:
        """Return a path as one would type it where the app was started."""
        return str(path.relative_to(self.start)) if path.is_relative_to(self.start) else str(path)

    def called(self, name: str) -> str:
        """Return what a run is called on the command line: its name, or its folder outside of ``./runs``."""
        return name if self.workspace == self.start / "runs" else self.short(self.workspace / name)


def make_settings(
    start: Path,
    *,
    workspace: Path = Path("runs"),
    data: tuple[Path, ...] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
    names: tuple[str, ...] = (),
    auth: bool = False,
    auth_file: Path | None = None,
    allow_weights: bool = False,
) -> Settings:
    """Return checked settings; relative paths count from ``start``.

    Raises:
        InputError: the address is open to others and no login is asked for, or the login is missing or weak.
    """
    start = start.resolve()
    login = read_login(auth_file) if auth or auth_file else None
    if not is_loopback(host) and login is None:
        raise InputError(
            f"--host {host} opens the app to other machines: whoever reaches it can start and stop runs, see images, "
            f"and load weights. Set {USER} and {PASSWORD} and add --auth (or --auth-file FILE), or keep 127.0.0.1 and "
            f"use a tunnel: ssh -N -L {port}:127.0.0.1:{port} user@machine."
        )
    given = [start / path for path in data]
    missing = [path for path in given if not path.is_dir()]
    if missing:
        raise InputError(f"--data: expected a folder at {missing[0]}; there is none.")
    named = os.environ.get("DA_KD_DATA")
    roots = [start, start / workspace, *given, *([Path(named)] if named else [])]
    return Settings(
        start=start,
        workspace=(start / workspace).resolve(),
        recipes=start / "recipes",
        roots=tuple(dict.fromkeys(path.expanduser().resolve() for path in roots)),
        host=host,
        port=port,
        names=names,
        login=login,
        allow_weights=allow_weights,
    )


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_login(file: Path | None) -> Login:
    """Return user and password, from a file of one line ``user:password`` or from the environment.

    Raises:
        InputError: either is missing, the password is short, or others may read the file.
    """
    if file is not None:
        user, password = _from_file(file)
        place = str(file)
    else:
        user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
        place = f"{USER} and {PASSWORD}"
    if not user or not password or ":" in user:
        raise InputError(f"--auth: expected a user and a password in {place}; found none. Set both.")
    if len(password) < _SHORTEST:
        raise InputError(f"--auth: expected a password of at least {_SHORTEST} characters in {place}; it is shorter.")
    return Login(user, password)


def _from_file(file: Path) -> tuple[str, str]:
    try:
        text, mode = file.read_text(encoding="utf-8"), file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--auth-file: expected a text file at {file}; it cannot be read ({error}).") from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        raise InputError(f"--auth-file: others may read {file}, which holds a password. Run: chmod 600 {file}")
    user, _, password = text.strip().partition(":")
    return user, password
