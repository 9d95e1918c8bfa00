"""`run_psc_segment.py`, from a family's networks to its file of splits: time and bytes per network."""

import tempfile
from pathlib import Path

from harness import FAMILIES, Row, learn_vocabulary, run, seconds_of, write_families

COUNT = 200  # networks per family
PUBLISHED = {  # seconds and megabytes per network
    "hiaml": (0.077, 0.11),
    "two_path": (0.10, 0.16),
    "nb101_5k": (0.32, 0.37),
    "nb201": (0.69, 0.85),
    "inception": (10.9, 11.4),
}


def measure() -> list[Row]:
    """The whole script in this process: reading the networks, cutting them, writing the file."""
    import run_psc_segment

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_families(folder, COUNT)
        learn_vocabulary(folder)
        for family in FAMILIES:
            output = folder / family
            paths = ["-data_dir", str(folder), "-vocabulary_dir", str(folder), "-cache_dir", str(output)]
            flags = ["-data_family", family, *paths]
            seconds = tuple(seconds_of(lambda flags=flags: run_psc_segment.main(flags)) / COUNT for _ in range(2))
            (file,) = output.iterdir()
            size, (time, megabytes) = file.stat().st_size / COUNT, PUBLISHED[family]
            rows += [
                Row(
                    f"PSC segment cache, `{family}`, per network",
                    "ms",
                    tuple(1e3 * second for second in seconds),
                    1e3 * time / 50,
                    published=1e3 * time,
                ),
                Row(
                    f"PSC segment cache, `{family}`, file per network",
                    "kB",
                    (size / 1e3,),
                    1e3 * megabytes / 50,
                    published=1e3 * megabytes,
                ),
            ]
    return rows


if __name__ == "__main__":
    run(measure, __doc__)
