"""Times alternatives in one run, in alternation, so that all run under the same conditions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    alternatives: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 10
) -> dict[str, list[float]]:
    """Seconds per call, by name: `rounds` figures each, a mean of `calls` calls in a row."""
    taken: dict[str, list[float]] = {name: [] for name in alternatives}
    order = list(alternatives.items())
    for _ in range(rounds):
        # Rotated by one each round, so that no contestant always runs after the same other one.
        order.append(order.pop(0))
        for name, call in order:
            call()
            began = time.perf_counter()
            for _ in range(calls):
                call()
            taken[name].append((time.perf_counter() - began) / calls)
    return taken


def show(taken: Mapping[str, list[float]], *, base: str) -> dict[str, float]:
    """Print median and quartiles of each, and its ratio to `base`; the ratios.

    The ratio is the median of the rounds' ratios, because a slow round slows both.
    """
    width = max(map(len, taken))
    ratios = {}
    print(f"{'':{width}}  {'median':>8} {'quartiles':>17}   ratio")
    for name, times in taken.items():
        low, middle, high = (1e6 * q for q in statistics.quantiles(times, n=4))
        ratios[name] = statistics.median(t / b for t, b in zip(times, taken[base], strict=True))
        print(f"{name:{width}}  {middle:5.0f} µs {low:5.0f} to {high:5.0f} µs   {ratios[name]:.3f}")
    return ratios
