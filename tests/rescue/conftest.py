"""A place with a configuration and data directories, for every test here."""

from rescue_place import contents, place

__all__ = ["contents", "place"]
