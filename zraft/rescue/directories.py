"""Data directories as a whole: made beside under another name, and given the one that counts when they are complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zraft.disk import OsFileSystem
from zraft.errors import ConfigError
from zraft.storage import failures


def refuse_if_used(directory: Path) -> None:
    """Raise `ConfigError` unless a data directory is empty, or not there yet."""
    with failures.spoken_of("use", str(directory)):
        if os.path.lexists(directory) and (not directory.is_dir() or os.listdir(directory)):
            raise ConfigError(f"{directory}: is not empty; move it away, or name another directory (--dir)")


@contextmanager
def beside(directory: Path, suffix: str) -> Iterator[OsFileSystem]:
    """Give an empty directory beside `directory`, to be filled; what is in it is removed when the block fails.

    What an earlier attempt has left under its name is removed first.
    """
    draft = directory.with_name(directory.name + suffix)
    fs = OsFileSystem(draft)
    with failures.spoken_of("write", str(draft)):
        if os.path.lexists(draft):
            shutil.rmtree(draft)
        try:
            yield fs
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        finally:
            fs.close()


def put_in_place(directory: Path, suffix: str) -> None:
    """Give the directory that was made `beside` the name that counts; durable when this returns."""
    with failures.spoken_of("rename", str(directory)):
        os.rename(directory.with_name(directory.name + suffix), directory)  # Replaces one that is empty.
        OsFileSystem(directory.parent).sync_directory()


def set_aside(directory: Path) -> Path:
    """Rename a data directory to a name of its own beside; return it. Nothing is deleted."""
    with failures.spoken_of("rename", str(directory)):
        number = 1
        while os.path.lexists(aside := directory.with_name(f"{directory.name}.aside-{number}")):
            number += 1
        os.rename(directory, aside)
        OsFileSystem(directory.parent).sync_directory()
        return aside
