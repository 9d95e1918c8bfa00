"""Tasks on a Ray cluster of two nodes (processes of this machine), one of which is killed in the middle."""

import os
from dataclasses import replace

import pytest

import constants
from model_src.comp_graph.load import load_cg
from model_src.files import InputError
from model_src.processes import MAX_ATTEMPTS, Backend, Task, TaskError, TaskPool, backend
from model_src.search.config import SearchConfig
from model_src.search.report import pareto_rows
from model_src.search.session import search
from tests.ray_cluster import two_nodes
from tests.tasks import State, die, fail, hang, kill_me, pid, value

CONFIG = SearchConfig(
    "nb201", epoch=3, top_k=3, max_target_per_iter=30, rescore_per_iter=20, n_jobs=2,
    min_flops_decrease_percent=-10, max_flops_decrease_percent=100,
)  # fmt: skip


def test_without_ray_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^-parallel_backend ray: .*: pip install autogo\[ray\]$"):
        SearchConfig("nb201", parallel_backend="ray")


def test_an_address_is_for_ray_and_backends_have_names():
    with pytest.raises(InputError, match=r"^-ray_address is for -parallel_backend ray$"):
        Backend(address="10.0.0.1:6379")
    with pytest.raises(InputError, match=r"^-parallel_backend: local or ray, not 'dask'$"):
        Backend("dask")


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture
def pool(nodes):
    with TaskPool(State(), 2, True, Backend("ray", nodes.address)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray
class TestTwoNodes:
    """The last test leaves one node."""

    def test_values_come_in_order_from_processes_that_are_kept(self, pool):
        assert list(pool.in_order(Task(str(n), value, (n, (5 - n) / 50)) for n in range(6))) == [
            ("state", n) for n in range(6)
        ]
        first, again = (set(pool.in_order(Task("where", pid) for _ in range(6))) for _ in range(2))
        assert first | again <= first | {os.getpid()}
        assert os.getpid() not in first

    def test_a_process_for_each_task(self, nodes):
        with TaskPool(State(), 2, False, Backend("ray", nodes.address)) as each:
            assert len(set(each.in_order(Task("where", pid) for _ in range(4)))) == 4

    def test_errors_keep_their_type(self, pool, nodes):
        with pytest.raises(InputError, match=r"^bad\.file: damaged$"):
            list(pool.in_order([Task("bad", fail)]))
        with pytest.raises(KeyError):
            list(pool.in_order([Task("worse", fail, (KeyError,))]))
        broken = TaskPool(State(fails=True), 2, True, Backend("ray", nodes.address))
        with broken, pytest.raises(InputError, match=r"^state\.file: missing$"):
            list(broken.in_order([Task("any", pid)]))

    def test_a_task_that_kills_its_processes_fails_alone(self, pool, tmp_path):
        tasks = [Task("fatal", die, (tmp_path / "log", kill_me)), Task("good", value, (1,))]
        fatal, good = sorted(pool.as_finished(tasks), key=lambda outcome: outcome.position)
        with pytest.raises(TaskError, match=r"^fatal: its process on Ray was lost"):
            fatal.result()
        assert good.result() == ("state", 1)
        assert len((tmp_path / "log").read_text().split()) == MAX_ATTEMPTS

    def test_a_process_that_hangs_is_ended_at_its_limit(self, pool, tmp_path):
        with pytest.raises(TaskError, match=r"^endless: not done within 1 s$"):
            list(pool.in_order([Task("endless", die, (tmp_path / "log", hang))], timeout=1))

    def test_more_processes_than_room_wait_for_it(self, nodes):
        with TaskPool(State(), 5, True, Backend("ray", nodes.address)) as wide:
            assert len(list(wide.in_order(Task(str(n), value, (n, 0.1)) for n in range(10)))) == 10

    def test_where_there_is_no_cluster_it_is_one_line(self):
        nowhere = TaskPool(State(), 2, True, Backend("ray", "127.0.0.1:1"))
        with nowhere, pytest.raises(InputError, match=r"^-ray_address 127\.0\.0\.1:1: "):
            list(nowhere.in_order([Task("any", pid)]))

    def test_a_search_loses_a_node_and_finds_the_same(self, nodes, caplog):
        source = load_cg(constants.ROOT / "architectures" / "nb201_best.pkl")
        alone = search(source, replace(CONFIG, n_jobs=1))

        def kill_one(progress):
            if (progress.iteration, progress.parent, progress.is_over) == (2, 1, False):
                nodes.kill_the_second()

        on_ray = replace(CONFIG, parallel_backend="ray", ray_address=nodes.address)
        found = search(source, on_ray, on_progress=kill_one)
        assert pareto_rows(found) == pareto_rows(alone)
        assert "process on Ray was lost" in caplog.text
