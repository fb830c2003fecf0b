"""Three replicas, a leader among them, and a session: for every test here."""

from virtual_fixtures import cluster, follower, leader, session

__all__ = ["cluster", "follower", "leader", "session"]
