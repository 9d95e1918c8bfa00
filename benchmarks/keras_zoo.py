"""The networks of `keras.applications`: with random weights, are they read exactly?

    python benchmarks/keras_zoo.py [NAME ...] -out zoo.csv

Each runs in a process of its own; those in the table already are not run again.
"""

import argparse
import csv
import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    import keras

SIZES = (32, 71, 75, 96, 224, 331)  # the smallest that a network takes is tried
COLUMNS = ("name", "size", "result", "difference", "seconds", "nodes")


def keras_networks() -> "dict[str, Callable[[], keras.Model]]":
    """Per name what makes the network, with normalisations and biases that are no zeros and ones."""
    from model_src.runtime import import_tensorflow

    import_tensorflow()
    import keras

    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name: lambda build=build: _smallest(build) for name, build in functions}


def _smallest(build: "Callable[..., keras.Model]") -> "keras.Model":
    refusals = []
    for size in SIZES:
        try:
            model = build(weights=None, input_shape=(size, size, 3))
        except ValueError as error:
            refusals.append(error)
            continue
        rng = np.random.default_rng(0)
        for weight in model.weights:
            if len(weight.shape) == 1 and weight.dtype == "float32":
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        return model
    raise refusals[-1]


def measure(name: str) -> dict[str, object]:
    """A row of the table."""
    model = keras_networks()[name]()
    import torch

    from model_src.comp_graph.importers.tensorflow import from_keras, rebuild

    start, row = time.perf_counter(), {"name": name, "size": model.input_shape[1]}
    try:
        found = from_keras(model, check=False)
    except ValueError as error:
        return row | {"result": f"refused: {error}", "seconds": f"{time.perf_counter() - start:.1f}"}
    row |= {"seconds": f"{time.perf_counter() - start:.1f}", "nodes": found.graph.n_nodes}
    images = np.random.default_rng(1).standard_normal((2, *model.input_shape[1:]), np.float32)
    wanted = np.asarray(model(images, training=False))
    with torch.inference_mode():
        got = rebuild(found)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    difference = np.abs(got - wanted).max() / np.abs(wanted).max()
    return row | {"result": "exact" if difference <= 1e-4 else "wrong", "difference": f"{difference:.1e}"}


def main() -> None:
    """Complete the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; default: all")
    parser.add_argument("-out", type=Path, default=Path("zoo.csv"), help="the table")
    parser.add_argument("-here", action="store_true", help="in this process, printed as a row")
    args = parser.parse_args()
    if args.here:
        csv.DictWriter(sys.stdout, COLUMNS).writerow(measure(args.names[0]))
        return
    done = {row[0] for row in csv.reader(args.out.open())} if args.out.exists() else set()
    for name in args.names or keras_networks():
        if name not in done:
            command = [sys.executable, __file__, name, "-here"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=1800)
            failed = f"{name},,failed: {run.stderr.strip().splitlines()[-1:]}\n"
            with args.out.open("a") as table:
                table.write(run.stdout.splitlines()[-1] + "\n" if run.returncode == 0 else failed)


if __name__ == "__main__":
    main()
