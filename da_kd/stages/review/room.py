"""The door to FiftyOne: its import, its settings and its one connection per process.

FiftyOne reads its settings from the environment when it is imported and connects when it is first used; both are done
here, and undone when the room is left, so that a process can enter the rooms of several workspaces one after the
other and the user's home stays untouched. Knows nothing of detections.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from da_kd.errors import Busy, SetupError
from da_kd.events import Job
from da_kd.stages.review import mongod
from da_kd.stages.review.program import MINIMUM

LEAST_ROOM = 2**24  # bytes; with less on the disk, it is what stopped the database
_inside = threading.Lock()  # FiftyOne has one connection per process


@contextlib.contextmanager
def open_room(workspace: Path, job: Job) -> Iterator[Any]:
    """Yield the module ``fiftyone``, connected to the workspace's own database, while the block runs.

    Raises:
        SetupError: FiftyOne is not installed, or its database cannot be started or reached, or breaks off.
        Busy: this process is in a room already, or another one blocks the database.
    """
    if not _inside.acquire(blocking=False):
        raise Busy("This process has a review database open already; close that one first, or use another process.")
    try:
        with mongod.serve(workspace, job) as uri, _environment(settings(workspace, uri)):
            _link_plugin(workspace)
            fo = _import()
            _configure(fo, workspace, uri)
            _connect(fo, uri)
            broken = importlib.import_module("pymongo.errors").PyMongoError
            try:
                yield fo
            except broken as error:
                full = shutil.disk_usage(workspace).free < LEAST_ROOM
                remedy = "the disk is full; make room" if full else f"look into {workspace}/mongo/mongod.log"
                raise SetupError(
                    f"The review database of {workspace} broke off ({error}). What the App had confirmed is kept; "
                    f"{remedy}, then open the review again."
                ) from error
            finally:
                _disconnect()
    finally:
        _inside.release()


@contextlib.contextmanager
def importing(workspace: Path, job: Job) -> Iterator[None]:
    """Let one process at a time look for a data set and make it, while the block runs."""
    folder = workspace / "mongo"
    folder.mkdir(parents=True, exist_ok=True)
    with mongod.exclusive(folder / "import.lock", job, wait=600):
        yield


def settings(workspace: Path, uri: str) -> dict[str, str]:
    """Return the environment in which FiftyOne keeps everything inside the workspace and calls nobody."""
    home = workspace.resolve() / "mongo" / "fiftyone"
    return {
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_VALIDATION": "false",  # else it complains about every mongod but the newest
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_DATABASE_DIR": str(home / "database"),
        "FIFTYONE_DEFAULT_DATASET_DIR": str(home / "datasets"),
        "FIFTYONE_DATASET_ZOO_DIR": str(home / "datasets"),
        "FIFTYONE_MODEL_ZOO_DIR": str(home / "models"),
        "FIFTYONE_PLUGINS_DIR": str(home / "plugins"),
        "FIFTYONE_CONFIG_PATH": str(home / "config.json"),
        "FIFTYONE_APP_CONFIG_PATH": str(home / "app_config.json"),
        "FIFTYONE_ANNOTATION_CONFIG_PATH": str(home / "annotation_config.json"),
        "FIFTYONE_EVALUATION_CONFIG_PATH": str(home / "evaluation_config.json"),
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(home / "matplotlib")),
    }


def _link_plugin(workspace: Path) -> None:
    """Put a link to our plugin into the workspace's folder of plugins; those in the user's home are not loaded."""
    shipped, link = Path(__file__).parent / "plugin", workspace.resolve() / "mongo" / "fiftyone" / "plugins" / "da_kd"
    if link.is_symlink() and link.readlink() == shipped:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".da_kd.{os.getpid()}")
    temporary.symlink_to(shipped)
    temporary.replace(link)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs; a FiftyOne of the user's own must not shine through."""
    hidden = ("FIFTYONE_PRIVATE_DATABASE_PORT", "FIFTYONE_DISABLE_SERVICES", "FIFTYONE_SERVER")
    before = {key: os.environ.get(key) for key in (*values, *hidden)}
    try:
        for key in hidden:
            os.environ.pop(key, None)
        os.environ.update(values)
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _import() -> Any:
    """Import FiftyOne (about 5 s the first time)."""
    try:
        fo = importlib.import_module("fiftyone")
    except ImportError as error:
        raise SetupError(
            f'Review needs FiftyOne, which cannot be imported ({error}). Install it with "pip install '
            "'da-kd[review]'\", or set 'review: {mode: skip}' in the recipe."
        ) from error
    logging.getLogger("fiftyone").setLevel(logging.WARNING)  # its progress is ours to tell
    return fo


def _configure(fo: Any, workspace: Path, uri: str) -> None:
    """Set what FiftyOne read from the environment when it was imported, maybe for another workspace."""
    values = settings(workspace, uri)
    for key in ("database_dir", "default_dataset_dir", "dataset_zoo_dir", "model_zoo_dir", "plugins_dir"):
        setattr(fo.config, key, values[f"FIFTYONE_{key.upper()}"])
    fo.config.database_uri = uri
    fo.config.database_validation = False
    fo.config.do_not_track = True
    fo.config.show_progress_bars = False


def _connect(fo: Any, uri: str) -> None:
    """Connect anew, whatever this process was connected to before."""
    database = importlib.import_module("fiftyone.core.odm.database")
    _disconnect()
    try:
        fo.list_datasets()
        version = tuple(database.get_db_conn().client.server_info()["versionArray"])
    except Exception as error:  # pymongo's, mongoengine's and FiftyOne's own errors have no common base
        _disconnect()
        raise SetupError(f"The review database at {_without_password(uri)} cannot be reached ({error}).") from error
    if version[:2] < MINIMUM:
        _disconnect()
        least, found = (".".join(map(str, numbers)) for numbers in (MINIMUM, version[:3]))
        raise SetupError(
            f"Review needs a MongoDB server {least} or newer; the one at {_without_password(uri)} is {found}. Name "
            "another in FIFTYONE_DATABASE_URI, or unset it to use the workspace's own."
        )
    if database._connection_kwargs.get("host") != uri:
        raise SetupError(
            "FiftyOne is connected to another database in this process and does not let go; use a process of its own."
        )


def _disconnect() -> None:
    """Close FiftyOne's connection and forget what it remembers of the database behind it."""
    database: Any = sys.modules.get("fiftyone.core.odm.database")
    if database is None:
        return
    database._disconnect()
    database._connection_kwargs.clear()
    # Data sets and repositories are remembered by name, which in another workspace means another thing.
    fo: Any = sys.modules["fiftyone"]
    fo.Dataset._instances.clear()
    factory: Any = sys.modules.get("fiftyone.factory.repo_factory")
    if factory is not None:
        factory._db = None
        factory.RepositoryFactory.repos.clear()


def _without_password(uri: str) -> str:
    """Return a URI that can be shown."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
