"""What is measured, how often, and what becomes of failures; real runtimes run a network."""

import logging
import math
from dataclasses import replace

import pytest

from model_src.files import InputError
from model_src.profiling.meter import Meter, latency_meter
from model_src.profiling.remembered import Remembered
from model_src.profiling.runtimes import Runtime, usual_runtime
from model_src.profiling.stopwatch import Stopwatch
from model_src.profiling.timing import Patience
from tests.profiling.fakes import install

QUICK = Patience(warm_up=0.0, least=0.0, most=0.01)


@pytest.fixture
def fake(monkeypatch):
    return install(monkeypatch)


def test_no_network_is_measured_twice(fake, tiny_graph, tmp_path):
    meter = latency_meter(Runtime("torch"), tmp_path / "own.csv", tmp_path)
    twin = replace(tiny_graph, name="twin")
    expected = fake.ms(tiny_graph)
    assert meter({"a": tiny_graph, "b": twin}) == {"a": expected, "b": expected}
    assert meter({"b": twin}) == {"b": expected}
    assert latency_meter(Runtime("torch"), None, tmp_path)({"c": tiny_graph}) == {"c": expected}
    assert len(fake.asked) == 1
    assert latency_meter(Runtime("torch", batch=2), None, tmp_path)({"c": tiny_graph}) == {"c": expected}
    assert len(fake.asked) == 2


def test_what_fails_is_told_and_costs_no_more_than_itself(fake, tiny_graph, caplog, source):
    meter = latency_meter(Runtime("torch"))
    costs = meter({"a": replace(tiny_graph, name="broken"), "b": source})
    assert math.isnan(costs["a"])
    assert costs["b"] == fake.ms(source)
    assert "broken cannot be measured: RuntimeError: no kernel" in caplog.text


def test_times_allow_for_how_fast_the_machine_is_at_the_moment(fake, tiny_graph, source, caplog):
    caplog.set_level(logging.INFO)
    meter = latency_meter(Runtime("torch"))
    usual = meter({"input": source})["input"]
    fake.pace = 1.5
    assert meter.beside(source, usual)({"x": tiny_graph})["x"] == pytest.approx(fake.ms(tiny_graph))
    assert "the machine took 1.50 to 1.50 times as long as before" in caplog.text


def test_the_layers_of_the_input_make_the_estimate(fake, source):
    meter = latency_meter(Runtime("torch"))
    estimate = meter.estimate(source, meter({"input": source})["input"])
    n_convs = sum(node.op_name == "conv2d" for node in source.nodes)
    assert estimate.of_graph(source) == pytest.approx(n_convs, rel=0.1)
    n_asked = len(fake.asked)
    meter.estimate(source, 1.0)
    assert len(fake.asked) == n_asked


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_real_runtimes(name, tiny_graph):
    pytest.importorskip(name)
    import torch

    threads = torch.get_num_threads()
    meter = Meter(Stopwatch(Runtime(name), QUICK), Remembered("here"))
    assert 0 < meter({"x": tiny_graph})["x"] < 100
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own
def test_compiled_networks(tiny_graph, source):
    watch = Stopwatch(Runtime("torch_compile"), QUICK)
    costs = Meter(watch, Remembered("here")).beside(tiny_graph, 1.0)({"x": tiny_graph, "y": source})
    assert 0 < costs["x"] < costs["y"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own
def test_every_network_is_compiled_however_many_run_in_turn(tiny_graph, source):
    import torch._dynamo

    how = Runtime("torch_compile")
    limit = torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True)
    with limit, how.prepared(tiny_graph) as one, how.prepared(source) as other:
        for run in (one, other, one):
            run()


def test_a_setting_says_all_that_a_time_depends_on():
    settings = {
        Runtime(*one).setting
        for one in (("torch",), ("torch_compile",), ("torch", "cpu", 2), ("torch", "cpu", 1, 8), ("onnxruntime",))
    }
    assert len(settings) == 5
    assert all("\n" not in text and "cores)" in text for text in settings)


def test_what_is_not_there_is_refused_by_name(monkeypatch):
    with pytest.raises(InputError, match="-latency_runtime: unknown 'tvm'; choose from onnxruntime, torch"):
        Runtime("tvm").check()
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="-latency_device tpu: ONNX Runtime has only"):
        Runtime("onnxruntime", "tpu").check()
    with pytest.raises(InputError):
        Runtime("torch", "warp").check()
    assert usual_runtime() == "onnxruntime"
    monkeypatch.setattr("model_src.profiling.runtimes.find_spec", lambda name: None)
    assert usual_runtime() == "torch"
    with pytest.raises(
        InputError, match=r"-latency_runtime onnxruntime: it is not installed: pip install autogo\[onnx\]"
    ):
        Runtime("onnxruntime").check()
