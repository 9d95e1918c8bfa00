"""Draw `docs/overview.svg`: how AutoGO works, from a network to better ones. Run from anywhere, it takes no flags."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

PICTURE = Path(__file__).with_name("overview.svg")
TITLE = (
    "How AutoGO works: read a network, a graph of its operations, text cut into segments, one swapped for another of "
    "the database, sizes repaired by a mixed-integer program, children screened and rescored, the Pareto front, results"
)
WIDTH, HEIGHT, EDGE, GAP, LANE = 1000, 560, 10, 20, 40
PANEL = (WIDTH - 2 * EDGE - 4 * GAP) / 5, (HEIGHT - 2 * EDGE - LANE) / 2
SIZES = {"h": 14, "s": 12, "m": 11.5, "n": 12, "t": 12}
# class: fill and frame on light ground, then on dark
COLOURS = {
    "page": ("#ffffff", "#d1d9e0", "#0d1117", "#3d444d"),
    "a": ("#f6f8fa", "#d1d9e0", "#151b23", "#3d444d"),
    "q": ("#ffffff", "#afb8c1", "#0d1117", "#656c76"),
    "b": ("#fff3b0", "#d4a72c", "#4a3a10", "#bb8009"),
    "c": ("#cdeaff", "#54aeff", "#14355c", "#388bfd"),
    "d": ("#c9f2d0", "#4ac26b", "#163d24", "#2ea043"),
    "e": ("#efdcff", "#c297ff", "#34245a", "#a371f7"),
    "f": ("#ffdedb", "#ff8182", "#57211f", "#f85149"),
}
INKS = {"text": ("#1f2328", "#f0f6fc"), "soft": ("#59636e", "#9198a1"), "dot": ("#0969da", "#1f6feb")}


def style() -> str:
    """The style sheet, for light and dark ground."""

    def rules(dark: bool) -> str:
        ink, soft, dot = (INKS[name][dark] for name in ("text", "soft", "dot"))
        boxes = [f".{name} {{ fill: {c[2 * dark]}; stroke: {c[2 * dark + 1]} }}" for name, c in COLOURS.items()]
        lines = [f"text {{ fill: {ink} }}", f".s {{ fill: {soft} }}", ".n { fill: #fff }", f".dot {{ fill: {dot} }}"]
        lines += [f".line {{ stroke: {soft} }}", f".tip {{ fill: {soft} }}", f".ghost {{ stroke: {soft} }}"]
        return "\n".join([*boxes, *lines, f".loop {{ stroke: {dot} }}", f".looptip {{ fill: {dot} }}"])

    sizes = " ".join(f".{name} {{ font-size: {size}px }}" for name, size in SIZES.items())
    return f"""<style>
text {{ font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif }}
{sizes}
.h, .n {{ font-weight: 600 }} .m, .n, .t {{ text-anchor: middle }}
.line, .loop {{ fill: none; stroke-width: 1.5 }} .loop {{ stroke-width: 2.5 }}
.ghost {{ fill: none; stroke-dasharray: 4 3 }}
{rules(False)}
@media (prefers-color-scheme: dark) {{
{rules(True)}
}}
</style>"""


def text_width(text: str, kind: str) -> float:
    """How wide a text is in DejaVu Sans, which is wider than what other systems show it in."""
    font = FT2Font(findfont(FontProperties(weight="bold" if kind in "hn" else "normal")))
    font.set_size(SIZES[kind], 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64


@dataclass
class Picture:
    """Shapes, one after the other."""

    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, kind: str, room: float) -> None:
        """A line of text.

        Raises:
            ValueError: It is wider than the room that it has.
        """
        if text_width(text, kind) > room:
            raise ValueError(f"{text!r} is {text_width(text, kind):.0f} wide and has room for {room:.0f}")
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def box(self, x: float, y: float, w: float, h: float, kind: str, text: str = "", round_: float = 4) -> None:
        """A box with a text in its middle."""
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{round_:g}"/>')
        if text:
            self.text(x + w / 2, y + h / 2 + 4, text, "m", w - 4)

    def path(self, d: str, kind: str = "line") -> None:
        """A line."""
        self.parts.append(f'<path class="{kind}" d="{d}"/>')

    def arrow(self, x: float, y: float, dx: float, dy: float, loop: bool = False) -> None:
        """A straight arrow along an axis."""
        tip, half = (9, 6) if loop else (6, 4)
        ux, uy = (dx > 0) - (dx < 0), (dy > 0) - (dy < 0)
        bx, by = x + dx - tip * ux, y + dy - tip * uy
        self.path(f"M{x:g} {y:g}L{bx:g} {by:g}", "loop" if loop else "line")
        corners = f"{bx - half * uy:g} {by - half * ux:g}L{x + dx:g} {y + dy:g}L{bx + half * uy:g} {by + half * ux:g}"
        self.path(f"M{corners}z", "looptip" if loop else "tip")

    def dot(self, x: float, y: float, radius: float, kind: str) -> None:
        """A filled circle."""
        self.parts.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>')

    def panel(self, column: int, row: int, number: int, title: str, caption: tuple[str, str], span: int = 1) -> tuple:
        """A step of the way with its title and what it says below; gives its left upper corner."""
        x, y = EDGE + column * (PANEL[0] + GAP), EDGE + row * (PANEL[1] + LANE)
        w = span * PANEL[0] + (span - 1) * GAP
        self.box(x, y, w, PANEL[1], "a", round_=8)
        self.dot(x + 20, y + 21, 10, "dot")
        self.text(x + 20, y + 25.5, str(number), "n", 20)
        self.text(x + 37, y + 26, title, "h", w - 42)
        for line, said in enumerate(caption):
            self.text(x + 12, y + PANEL[1] - 27 + 16 * line, said, "s", w - 20)
        return x, y


def read(p: Picture) -> None:
    """Which files come in."""
    x, y = p.panel(0, 0, 1, "Network", ("read exactly, with its", "weights, or refused"))
    for row, (kind, name) in enumerate(
        zip("becdf", ("PyTorch module", "ONNX", "Keras", "TensorFlow", ".json.gz, .pkl"), strict=True)
    ):
        p.box(x + 22, y + 46 + 30 * row, 136, 23, kind, name)


CHAIN = ("relu", "conv 1×1", "batchnorm", "relu", "conv 3×3", "batchnorm", "add")


def graph(p: Picture) -> None:
    """A graph of operations."""
    x, y = p.panel(1, 0, 2, "Graph", ("a node per operation,", "with kernel and sizes"))
    for row, name in enumerate(CHAIN):
        top = y + 42 + 23.5 * row
        p.box(x + 34, top, 100, 16, "q", name)
        if row:
            p.arrow(x + 84, top - 7.5, 0, 7.5)
    p.path(f"M{x + 134:g} {y + 50:g}C{x + 172:g} {y + 60:g} {x + 172:g} {y + 176:g} {x + 141:g} {y + 190:g}")
    p.path(f"M{x + 143.5:g} {y + 185:g}L{x + 135:g} {y + 191:g}L{x + 145.5:g} {y + 193:g}z", "tip")


TEXT = "rkbrcb+rkbrcb+"
PIECES = (("rkb", "b"), ("rcb+", "c")), (("rk", "e"), ("brcb", "d"), ("+", "f"))


def tiles(p: Picture, x: float, y: float, letters: str, kind: str) -> float:
    """Letters in tiles that touch; gives where they end."""
    for letter in letters:
        p.box(x, y, 19, 22, kind, round_=2)
        p.text(x + 9.5, y + 15, letter, "t", 19)
        x += 19
    return x


def segments(p: Picture) -> None:
    """The graph as text, and the text cut."""
    x, y = p.panel(2, 0, 3, "Text, segments", ("cut by a BPE vocabulary,", "half of it hidden at a time"))
    for line in range(2):
        tiles(p, x + 90 - 9.5 * 7, y + 46 + 26 * line, TEXT[7 * line : 7 * line + 7], "q")
    p.arrow(x + 90, y + 102, 0, 22)
    for line, pieces in enumerate(PIECES):
        at = x + 90 - 9.5 * 7 - 3 * (len(pieces) - 1)
        for letters, kind in pieces:
            at = tiles(p, at, y + 134 + 32 * line, letters, kind) + 6


def swap(p: Picture) -> None:
    """A segment goes, another one comes."""
    x, y = p.panel(3, 0, 4, "Swap", ("one to three neighbouring", "segments for another one"))
    for row, (kind, name) in enumerate((("q", "relu"), *[("ghost", n) for n in ("conv", "bn", "relu")], ("q", "add"))):
        p.box(x + 14, y + 50 + 29 * row, 52, 21, kind, name)
        if row:
            p.arrow(x + 40, y + 42 + 29 * row, 0, 8)
    left, right, top, bottom = x + 102, x + 170, y + 58, y + 178
    p.path(f"M{left} {top}v{bottom - top}a34 9 0 0 0 68 0V{top}", "q")
    p.path(f"M{left} {top}a34 9 0 0 1 68 0a34 9 0 0 1 -68 0", "q")
    for column, (kind, count) in enumerate((("d", 2), ("e", 4), ("b", 3))):
        for row in range(count):
            p.box(left + 8 + 18 * column, y + 78 + 17 * row, 15, 14, kind, round_=2)
    p.text((left + right) / 2, y + 168, "database", "m", 66)
    p.arrow(left - 4, y + 118, -26, 0)


def sizes(p: Picture) -> None:
    """Sizes that fit again."""
    x, y = p.panel(4, 0, 5, "Repair", ("strides and channels, by", "integer program (MILP)"))
    p.box(x + 26, y + 42, 128, 19, "q", "16×16, 64 channels")
    for row, name in enumerate(("conv 3×3 /2 64→128", "batchnorm", "swish", "conv 1×1 128→96")):
        p.arrow(x + 90, y + 61 + 28 * row, 0, 9)
        p.box(x + 14, y + 70 + 28 * row, 152, 19, "e", name)
    p.arrow(x + 90, y + 173, 0, 9)
    p.box(x + 26, y + 182, 128, 19, "q", "8×8, 96 channels")


def screen(p: Picture) -> None:
    """A child is predicted from its three parts."""
    x, y = p.panel(4, 1, 6, "Screen", ("every child, from its", "three parts (PSC)"))
    for row, (kind, name) in enumerate((("q", "predecessor"), ("e", "segment"), ("q", "successor"))):
        top = y + 50 + 40 * row
        p.box(x + 14, top, 90, 26, kind, name)
        p.arrow(x + 104, top + 13, 18, 0)
    p.box(x + 122, y + 50, 44, 106, "c", round_=6)
    for line, word in enumerate(("one", "en-", "coder")):
        p.text(x + 144, y + 91 + 15 * line, word, "m", 42)
    p.arrow(x + 144, y + 156, 0, 16)
    p.box(x + 84, y + 172, 82, 24, "b", "score")


def rescore(p: Picture) -> None:
    """The best children are scored as whole networks."""
    x, y = p.panel(3, 1, 7, "Rescore", ("the best ones as whole", "networks, with deviation"))
    bells = ((0, 22), (9, 26), (-7, 20), (14, 30))
    for row, ((shift, width), name) in enumerate(zip(bells, ("PSC", "PSC", "PSC", "GNN"), strict=True)):
        top, middle = y + 48 + 27 * row, x + 116 + shift
        p.box(x + 14, top, 44, 20, "d" if name == "GNN" else "c", name)
        curve = f"M{middle - width:g} {top + 18:g}c{width / 2:g} 0 {width / 2:g} -16 {width:g} -16"
        p.path(f"{curve}s{width / 2:g} 16 {width:g} 16")
    p.arrow(x + 90, y + 157, 0, 12)
    p.box(x + 10, y + 171, 160, 24, "b", "mean - caution × dev.")


POINTS = (
    (70, 168),
    (72, 150),
    (90, 158),
    (92, 130),
    (104, 142),
    (118, 152),
    (120, 106),
    (136, 130),
    (146, 92),
    (152, 114),
)
FRONT = ((44, 164), (58, 140), (78, 116), (106, 92), (134, 74))


def front(p: Picture) -> None:
    """The Pareto front."""
    x, y = p.panel(2, 1, 8, "Pareto front", ("nothing is both better", "and cheaper"))
    p.path(f"M{x + 32:g} {y + 46:g}V{y + 180:g}H{x + 168:g}")
    for px, py in POINTS:
        p.dot(x + px, y + py, 3, "q")
    steps = "".join(f"H{x + px:g}V{y + py:g}" for px, py in FRONT[1:])
    p.path(f"M{x + FRONT[0][0]:g} {y + FRONT[0][1]:g}{steps}", "loop")
    for px, py in FRONT:
        p.dot(x + px, y + py, 4, "dot")
    p.text(x + 38, y + 56, "score", "s", 60)
    p.text(x + 124, y + 196, "FLOPs", "s", 50)


def results(p: Picture) -> None:
    """What a search leaves behind."""
    caption = (
        "whatever layers are still the same keep their weights;",
        "results can be trained, and lead the next round",
    )
    x, y = p.panel(0, 1, 9, "Results", caption, span=2)
    p.box(x + 14, y + 44, 172, 152, "q", round_=6)
    p.text(x + 24, y + 62, "report.html", "m", 90)
    p.parts[-1] = p.parts[-1].replace('class="m"', 'class="m" style="text-anchor: start"')
    p.path(f"M{x + 26:g} {y + 72:g}v52h66")
    p.path(f"M{x + 32:g} {y + 116:g}h10v-12h16v-14h18v-10h10", "loop")
    for row, kind in enumerate("qqeeqdq"):
        p.box(x + 112 + (12 if kind == "e" else 0), y + 72 + 17 * row, 50, 12, kind, round_=2)
    for row in range(4):
        p.path(f"M{x + 26:g} {y + 140 + 14 * row:g}h70")
    for row, (kind, name) in enumerate(
        zip("qcbde", ("tables, drawings", "graphs", "PyTorch", "ONNX", "TensorFlow"), strict=True)
    ):
        p.box(x + 206, y + 44 + 31 * row, 160, 23, kind, name)


def picture() -> str:
    """The picture as the content of an SVG file."""
    p = Picture()
    p.box(0.5, 0.5, WIDTH - 1, HEIGHT - 1, "page", round_=8)
    for step in (read, graph, segments, swap, sizes, screen, rescore, front, results):
        step(p)
    (w, h), middle = PANEL, EDGE + PANEL[1] / 2
    for column in range(4):
        p.arrow(EDGE + (column + 1) * w + column * GAP + 1, middle, GAP - 2, 0)
    for column in (4, 3, 2):
        p.arrow(EDGE + column * (w + GAP) - 1, EDGE + h + LANE + h / 2, 2 - GAP, 0)
    p.arrow(EDGE + 4 * (w + GAP) + w / 2, EDGE + h + 2, 0, LANE - 4)
    p.text(EDGE + 4 * (w + GAP) + w / 2 + 12, EDGE + h + 25, "child", "s", 60)
    p.arrow(EDGE + 2 * (w + GAP) + w / 2, EDGE + h + LANE - 2, 0, 4 - LANE, loop=True)
    p.text(EDGE + 2 * (w + GAP) + w / 2 + 14, EDGE + h + 25, "the next iteration's parents", "s", 200)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">'
    return "\n".join([head, f'<title id="title">{escape(TITLE)}</title>', style(), *p.parts, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"Wrote {PICTURE}")
