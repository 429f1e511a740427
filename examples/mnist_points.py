"""The runs of `results/mnist.csv`, seeds together, and their tables in Markdown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

METHODS = ("smh", "shared", "pruned", "dense")
CODED = ("smh", "shared")  # their numbers have few bits
NOT_A_SETTING = {
    *("seed", "command", "versions", "fraction", "trained", "seconds"),
    *("validation_error", "test_error", "file_bytes", "bytes_with_architecture"),
}


@dataclass(frozen=True)
class Point:
    """The seeds of one setting."""

    settings: dict[str, str]
    seeds: tuple[str, ...]
    fractions: tuple[float, ...]
    bytes: tuple[int, ...]
    whole_bytes: tuple[int, ...]
    errors: tuple[float, ...]
    validation: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def mean_bytes(self) -> float:
        """Mean size of the files."""
        return mean(self.bytes)

    @property
    def mean_error(self) -> float:
        """Mean test error in percent."""
        return mean(self.errors)

    @property
    def size(self) -> str:
        """Replicas of the pools, or how far it is pruned."""
        pruned = f"{self.times:.0f}x pruned"
        return {
            "smh": f"M={replicas_of(self.settings)}",
            "shared": pruned,
            "pruned": pruned,
            "dense": "dense",
        }[self.settings["method"]]

    @property
    def bits(self) -> str:
        """Of its numbers, if they are not floats."""
        return f"{self.settings['bits']} bits" if self.settings["method"] in CODED else ""

    @property
    def label(self) -> str:
        """What the model is, in a few words."""
        return ", ".join(filter(None, (self.size, self.bits)))

    @property
    def times(self) -> float:
        """How many times fewer numbers than the dense network it has."""
        return 1 / mean(self.fractions)

    @property
    def training(self) -> str:
        """In a few words: epochs, batch if it is not 256, noise, and how far images are moved."""
        epochs = int(self.settings["epochs"])
        stages = {"pruned": [epochs // 2], "shared": [epochs // 2, epochs // 4]}
        counts = [epochs, *stages.get(self.settings["method"], [])]
        words = [f"{' + '.join(map(str, counts))} epochs"]
        if self.settings["batch"] != "256":
            words.append(f"batch {self.settings['batch']}")
        if float(self.settings["noise"]):
            words.append(f"noise {self.settings['noise']}")
        if float(self.settings["shift"]):
            words.append(f"shift {float(self.settings['shift']):g}")
        if self.settings["flip"] == "1":
            words.append("flip")
        if self.settings["teacher"]:
            words.append("distilled")
        return ", ".join(words)


def replicas_of(settings: dict[str, str]) -> str:
    """Of each pool, and for pools that are not the usual ones what is in each."""
    own, replicas = settings["conv_replicas"], settings["replicas"]
    if not settings["pools"]:
        return replicas if own == "0" else f"{own} + {replicas}"
    pools = [pool.split("=") for pool in settings["pools"].split(",")]
    names = " + ".join(name.replace("|", "/") or "rest" for name, _ in pools)
    return f"{' + '.join(count for _, count in pools)} ({names})"


def mean(numbers: tuple) -> float:
    """Of a few numbers."""
    return sum(numbers) / len(numbers)


def points_of(rows: list[dict[str, str]], network: str, data: str, method: str) -> list[Point]:
    """The rows of a network, data set and method, from the smallest file on."""
    groups: dict[tuple, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if (row["network"], row["data"], row["method"]) == (network, data, method):
            groups[tuple((k, v) for k, v in row.items() if k not in NOT_A_SETTING)].append(row)

    def column(group, name, kind):
        return tuple(kind(row[name]) for row in group)

    points = [
        Point(
            dict(settings),
            column(group, "seed", str),
            column(group, "fraction", float),
            column(group, "file_bytes", int),
            column(group, "bytes_with_architecture", int),
            column(group, "test_error", float),
            column(group, "validation_error", float),
            column(group, "seconds", float),
        )
        for settings, group in groups.items()
    ]
    return sorted(points, key=lambda point: point.mean_bytes)


def chosen(points: list[Point]) -> list[Point]:
    """Of the points that store the same, the one of lowest validation error."""
    best: dict[tuple, Point] = {}
    for point in points:
        stored = ("replicas", "conv_replicas", "pools", "bits", "density")
        key = tuple(point.settings[name] for name in stored)
        if key not in best or mean(point.validation) < mean(best[key].validation):
            best[key] = point
    return sorted(best.values(), key=lambda point: point.mean_bytes)


def table(points: list[Point]) -> str:
    """Markdown: one line for each point."""
    lines = [
        "| model | numbers | training | seeds | bytes, mean (smallest to largest) "
        "| with architecture | validation error, mean | test error, mean | worst seed |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for p in points:
        lines.append(
            f"| {p.label} | {100 * mean(p.fractions):.3g} % | {p.training} | {len(p.seeds)} "
            f"| {p.mean_bytes:,.0f} ({min(p.bytes):,} to {max(p.bytes):,}) "
            f"| {mean(p.whole_bytes):,.0f} | {mean(p.validation):.2f} % "
            f"| {p.mean_error:.2f} % | {max(p.errors):.2f} % |"
        )
    return "\n".join(lines)
