"""Make the pictures of the README anew: the overview, and what a terminal, a front and a report show of its search."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BROWSERS = (
    "chromium",
    "chromium-browser",
    "chrome-headless-shell",
    "chromium-headless-shell",
    "google-chrome",
    "chrome",
)
COLUMNS, LINES = 140, 50
PAGE = 1180, 1400  # pixels
# The library's own names fonts that would have to be fetched.
TERMINAL_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def readme_search() -> str:
    """The search of the README as it stands there."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return next(block for block in blocks if block.startswith("python autogo.py -model_path")).strip()


def shown_by_terminal(command: Sequence[str], folder: Path) -> str:
    """What a command, run in a folder, writes to a terminal.

    Raises:
        CalledProcessError: It failed.
    """
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (LINES, COLUMNS))
    pieces = []
    with subprocess.Popen(command, cwd=folder, stdout=its, stderr=its) as process:
        os.close(its)
        while piece := _read(ours):
            os.write(sys.stderr.fileno(), piece)
            pieces.append(piece)
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody writes to it any more
        return b""


def draw_terminal(command: str, shown: str, path: Path) -> None:
    """Draw a terminal in which a command was run."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(f"{shown.rstrip()}\n "), soft_wrap=True)
        path.write_text(console.export_svg(title="AutoGO", code_format=TERMINAL_SVG, unique_id="t"), encoding="utf-8")


def photograph(page: Path, browser: str, path: Path) -> None:
    """Take a picture of the top of a page.

    Raises:
        CalledProcessError: The browser failed.
    """
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        size = "--window-size={},{}".format(*PAGE)
        command = [browser, *options, size, f"--screenshot={path}", page.as_uri()]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=120)
    Image.open(path).quantize(256).save(path, optimize=True)


def main() -> None:
    """Make all pictures, telling each."""
    parser = argparse.ArgumentParser(description=__doc__)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    parser.add_argument(
        "-browser", default=found, help="a Chromium for the picture of the report (default: %(default)s)"
    )
    browser = parser.parse_args().browser
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed: give one with -browser")
    subprocess.run([sys.executable, DOCS / "draw_overview.py"], check=True)
    command = readme_search()
    with tempfile.TemporaryDirectory() as name:
        words = [*shlex.split(command.replace("\\\n", " "))[2:], "-output_dir", "outputs", "-logs_dir", "outputs"]
        shown = shown_by_terminal([sys.executable, str(ROOT / "autogo.py"), *words], Path(name))
        draw_terminal(command, shown, DOCS / "terminal.svg")
        (folder,) = (Path(name) / "outputs").iterdir()
        shutil.copyfile(folder / "pareto.png", DOCS / "pareto.png")
        photograph(folder / "report.html", browser, DOCS / "report.png")
    for picture in ("terminal.svg", "pareto.png", "report.png"):
        print(f"Wrote {DOCS / picture}")


if __name__ == "__main__":
    main()
