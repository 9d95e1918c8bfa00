"""A clock that runs when it is told to, and a runtime whose networks take as long as they are said to."""

from contextlib import contextmanager

from model_src.profiling import stopwatch
from model_src.profiling.runtimes import RUNTIMES
from model_src.profiling.timing import Comparison, Timing


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FakeRuntime:
    """Networks take 0.01 ms per node and 1 ms per convolution, times `pace`; counts what it is asked for."""

    def __init__(self, pace=1.0):
        self.pace, self.asked = pace, []

    @contextmanager
    def __call__(self, cg, how):
        if cg.name == "broken":
            raise RuntimeError("no kernel")
        self.asked.append(cg)
        yield lambda: self.pace * self.ms(cg)

    @staticmethod
    def ms(cg):
        return 0.01 * cg.n_nodes + sum(node.op_name == "conv2d" for node in cg.nodes)


def told(run, patience):
    """Stands for `timed`: what a call says that it takes."""
    return Timing(run(), 0.0, 1)


def told_beside(run, other, patience):
    """Stands for `compared`; likewise."""
    return Comparison(run() / other(), 0.0, 1, other())


def install(monkeypatch, pace=1.0):
    """Let `torch` be a fake runtime, and give it."""
    runtime = FakeRuntime(pace)
    monkeypatch.setitem(RUNTIMES, "torch", runtime)
    monkeypatch.setattr(stopwatch, "timed", told)
    monkeypatch.setattr(stopwatch, "compared", told_beside)
    return runtime
