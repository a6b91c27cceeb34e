"""Draws a result of bench/compare.py as PNG in bench/results/: bench/run plot [name]."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench.summary import cell_medians

RESULTS = Path(__file__).with_name("results")
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")


def bars(axes, cells: dict, workload: str, quantity: str, *, scale: float) -> None:
    """One group of bars for each number of connections."""
    connections = sorted({c for name, c, _ in cells if name == workload})
    contestants = list(dict.fromkeys(contestant for _, _, contestant in cells))
    width = 0.8 / len(contestants)
    for place, contestant in enumerate(contestants):
        values = [
            scale * cells.get((workload, c, contestant), {}).get(quantity, 0.0) for c in connections
        ]
        left = [i + (place - (len(contestants) - 1) / 2) * width for i in range(len(connections))]
        axes.bar(left, values, width, label=contestant, color=COLOURS[place % len(COLOURS)])
    axes.set_xticks(range(len(connections)), [str(c) for c in connections])
    axes.set_title(workload, fontsize=10)
    axes.grid(axis="y", alpha=0.3)


def plot_loads(result: dict, quantity: str, label: str, path: Path, scale: float = 1.0) -> None:
    cells = cell_medians(result["figures"])
    workloads = list(dict.fromkeys(name for name, _, _ in cells))
    columns = min(3, len(workloads))
    lines = -(-len(workloads) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(4.2 * columns, 3.0 * lines + 0.8), squeeze=False
    )
    for axes in grid.flat[len(workloads) :]:
        axes.set_visible(False)
    for axes, workload in zip(grid.flat, workloads, strict=False):
        bars(axes, cells, workload, quantity, scale=scale)
    for axes in grid[:, 0]:
        axes.set_ylabel(label)
    for axes in grid[-1]:
        axes.set_xlabel("connections")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=8)
    _finish(figure, result, path)


def plot_streams(result: dict, path: Path) -> None:
    names = list(dict.fromkeys(s["contestant"] for s in result["streams"]))
    figure, (rate, growth) = plt.subplots(1, 2, figsize=(9, 3.6))
    colours = COLOURS[1 : 1 + len(names)]

    def medians(read):
        return [
            statistics.median(read(s) for s in result["streams"] if s["contestant"] == name)
            for name in names
        ]

    rate.barh(names, medians(lambda s: s["rows"] / s["seconds"] / 1e3), color=colours)
    rate.set_xlabel("thousand rows/s")
    growth.barh(names, medians(lambda s: s["growth"] / (1 << 20)), color=colours)
    growth.set_xlabel("memory grew, MiB")
    growth.set_yticklabels([])
    for axes in (rate, growth):
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    _finish(figure, result, path)


def plot_growth(result: dict, path: Path) -> None:
    figure, (trips, pages) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    by_what: dict[str, list[dict]] = {}
    for one in result["growth"]:
        by_what.setdefault(one["what"], []).append(one)
    for place, (what, points) in enumerate(by_what.items()):
        if not what.startswith("page"):
            rows = [p["rows"] for p in points]
            trips.plot(rows, [p["p50_ms"] for p in points], "o-", label=what, color=COLOURS[place])
    trips.set(xscale="log", xlabel="rows of the table", ylabel="p50, ms")
    trips.set_title("ours, one connection")
    trips.legend(fontsize=8)
    page = {w.partition(", ")[2]: p[0]["p50_ms"] for w, p in by_what.items() if "page" in w}
    pages.bar(list(page), list(page.values()), color=COLOURS[4])
    pages.set(xlabel="position of the page")
    pages.set_title("100 customers of the most, by key")
    for axes in (trips, pages):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
    _finish(figure, result, path)


def _finish(figure, result: dict, path: Path) -> None:
    m = result["machine"]
    figure.suptitle(f"{m['processor']}, {m['cores']} cores, {m['date']}", fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 0.98))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(name: str) -> list[Path]:
    """Draw all parts of the result `name`; returns the files."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    for old in RESULTS.glob(f"{name}-*.png"):
        old.unlink()
    if result["figures"]:
        plot_loads(result, "rate", "requests/s", RESULTS / f"{name}-rate.png")
        plot_loads(result, "p99_ms", "p99, ms", RESULTS / f"{name}-p99.png")
        plot_loads(result, "cpu_per_request", "CPU µs a request", RESULTS / f"{name}-cpu.png", 1e6)
    if result["streams"]:
        plot_streams(result, RESULTS / f"{name}-stream.png")
    if result["growth"]:
        plot_growth(result, RESULTS / f"{name}-growth.png")
    return sorted(RESULTS.glob(f"{name}-*.png"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", default="full", help="of the result (default: full)")
    name = parser.parse_args().name
    if not (RESULTS / f"{name}.json").exists():
        parser.error(f"there is no result named {name}: run bench/run first")
    for drawn in draw(name):
        print(drawn.relative_to(RESULTS.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
