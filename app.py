"""Starts the browser app; ``python app.py --help`` lists its options. The same as ``da-kd app``."""

import sys

from da_kd.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "app")
    main()
