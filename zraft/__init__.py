"""zraft: Raft as ZeroMQ actors."""

__version__ = "0.1.0"
