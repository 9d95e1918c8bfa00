"""Where a network runs while it is timed: ONNX Runtime, or PyTorch as it is or compiled."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.files import InputError

RUNTIME_NAMES = ("onnxruntime", "torch", "torch_compile")
_ACTIVATIONS = frozenset({"batchnorm", "relu", "relu6", "leakyrelu", "clip", "sigmoid", "tanh", "hardsigmoid"})
_NOTHING = frozenset({"input", "output", "identity", "port"})


@dataclass(frozen=True)
class Runtime:
    """Where and how a network is to run.

    Attributes:
        name: A name of `RUNTIMES`.
        device: `cpu`, `cuda`, `cuda:1`, ...
        threads: That one run may use on a CPU.
        batch: Images at a time.
    """

    name: str
    device: str = "cpu"
    threads: int = 1
    batch: int = 1

    @property
    def setting(self) -> str:
        """All that a time depends on besides the network, in one line."""
        package = "onnxruntime" if self.name == "onnxruntime" else "torch"
        how = "" if self.name == package else f" ({self.name})"
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}, " if self.device == "cpu" else ""
        return f"{package} {version(package)}{how}, {device_name(self.device)}, {threads}batch {self.batch}"

    @property
    def fused(self) -> frozenset[str]:
        """Operations that take no time of their own behind a convolution, for the runtime does them with it."""
        return _NOTHING if self.name == "torch" else _NOTHING | _ACTIVATIONS

    def check(self) -> None:
        """Check that networks can run so here.

        Raises:
            InputError: The name is unknown, or the runtime or the device is not there.
        """
        if self.name not in RUNTIMES:
            raise InputError(f"-latency_runtime: unknown {self.name!r}; choose from {', '.join(RUNTIMES)}")
        if self.name == "onnxruntime":
            if find_spec("onnxruntime") is None:
                raise InputError(
                    "-latency_runtime onnxruntime: it is not installed: pip install autogo[onnx] (or onnxruntime)"
                )
            _provider(self.device)
        else:
            from model_src.runtime import choose_device

            choose_device(self.device)

    def prepared(self, cg: ComputeGraph) -> AbstractContextManager[Callable[[], object]]:
        """A block in which a network is ready; what it gives runs the network once, to the end.

        Raises:
            ValueError: The network cannot be built.
        """
        return RUNTIMES[self.name](cg, self)


def usual_runtime() -> str:
    """ONNX Runtime where it is installed, otherwise PyTorch as it is."""
    return "onnxruntime" if find_spec("onnxruntime") else "torch"


def device_name(device: str) -> str:
    """What a device is called by its maker."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        found = []
    return f"{found[0] if found else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def _provider(device: str) -> Any:
    """The execution provider of a device, with its options.

    Raises:
        InputError: This build of ONNX Runtime has none.
    """
    import onnxruntime

    kind, _, number = device.partition(":")
    name = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind, "")
    if name not in onnxruntime.get_available_providers():
        raise InputError(f"-latency_device {device}: ONNX Runtime has only {onnxruntime.get_available_providers()}")
    return (name, {"device_id": number or "0"}) if kind == "cuda" else name


@contextmanager
def _onnxruntime(cg: ComputeGraph, how: Runtime) -> Iterator[Callable[[], object]]:
    import onnxruntime

    from model_src.comp_graph.exporters.files import network_of
    from model_src.comp_graph.exporters.onnx import to_onnx
    from model_src.comp_graph.networks.statistics import noise

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = how.threads, 1
    options.log_severity_level = 3
    model = to_onnx(cg, network_of(cg)).SerializeToString()
    providers = [_provider(how.device)]  # and no other one, if it cannot run the network
    session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    images = {session.get_inputs()[0].name: noise(cg, how.batch).numpy()}
    yield lambda: session.run(None, images)


@contextmanager
def _torch(cg: ComputeGraph, how: Runtime, compiled: bool = False) -> Iterator[Callable[[], object]]:
    import torch

    from model_src.comp_graph.exporters.files import network_of
    from model_src.comp_graph.networks.statistics import noise

    device, threads = torch.device(how.device), torch.get_num_threads()
    network: Any = network_of(cg).to(device)
    images = noise(cg, how.batch).to(device)
    if compiled:
        # a module of its own code: of one code no more than eight networks are compiled, the others run as they are
        network = torch.compile(torch.export.export(network, (images,)).module())

    def run() -> None:
        network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    try:
        torch.set_num_threads(how.threads)
        with torch.inference_mode():
            yield run
    finally:
        torch.set_num_threads(threads)


def _torch_compile(cg: ComputeGraph, how: Runtime) -> AbstractContextManager[Callable[[], object]]:
    return _torch(cg, how, compiled=True)


RUNTIMES: dict[str, Callable[[ComputeGraph, Runtime], AbstractContextManager[Callable[[], object]]]] = dict(
    zip(RUNTIME_NAMES, (_onnxruntime, _torch, _torch_compile), strict=True)
)
