"""``python -m zraft``."""

from zraft.cli.main import run

if __name__ == "__main__":
    run()
