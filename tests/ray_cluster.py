"""A Ray cluster of local processes, one of whose nodes can be killed."""

import os
from contextlib import contextmanager

import pytest

STORE = 100 * 2**20  # bytes of each node
# A node that is gone is noticed in seconds, not in half a minute.
SETTINGS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}


class Nodes:
    """The nodes of a cluster, each of one CPU."""

    def __init__(self, cluster):
        self._cluster = cluster
        self.address = cluster.address
        self._second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
        cluster.wait_for_nodes()

    def kill_the_second(self) -> None:
        """End all processes of the second node with SIGKILL, and wait until the others know."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._cluster.wait_for_nodes()


@contextmanager
def two_nodes():
    """Two nodes; the first one is the head. Skips the test where Ray is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    pytest.importorskip("ray", reason="Ray is not installed (pip install autogo[ray])")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "_system_config": SETTINGS}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield Nodes(cluster)
    finally:
        cluster.shutdown()
