"""``python -m da_kd`` is ``da-kd``."""

from da_kd.cli import main

if __name__ == "__main__":
    main()
