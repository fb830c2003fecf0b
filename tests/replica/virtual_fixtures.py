"""Three replicas, a leader among them, and a session."""

import pytest
from virtual_cluster import VirtualCluster, VirtualNode


@pytest.fixture
def cluster() -> VirtualCluster:
    """Start three nodes; no time has passed yet."""
    return VirtualCluster().start()


@pytest.fixture
def leader(cluster: VirtualCluster) -> VirtualNode:
    """Let the nodes elect a leader and come to rest."""
    return cluster.settled()


@pytest.fixture
def follower(cluster: VirtualCluster, leader: VirtualNode) -> VirtualNode:
    """Return one who follows."""
    return next(node for node in cluster.nodes.values() if node is not leader)


@pytest.fixture
def session(cluster: VirtualCluster, leader: VirtualNode) -> int:
    """Register a session."""
    return cluster.open_session(leader)
