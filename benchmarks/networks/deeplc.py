"""DeepLC, a 1-D convolutional network that predicts the retention time of a peptide.

Reference: R. Bouwmeester et al., Nature Methods 18 (2021); weights of `deeplc` 3.1.13.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import keras
import numpy as np

from networks.network import Network, member

ATOMS = "CHNOSP"
LETTERS = "KRPTNAQVSGILCMHFYWED"  # order of the network's one-hot input
# Share of each amino acid in proteins, in percent (UniProtKB/Swiss-Prot's statistics).
SHARES = {
    "A": 8.25, "R": 5.53, "N": 4.06, "D": 5.46, "C": 1.38, "Q": 3.93, "E": 6.72, "G": 7.07,
    "H": 2.27, "I": 5.91, "L": 9.65, "K": 5.80, "M": 2.41, "F": 3.86, "P": 4.74, "S": 6.65,
    "T": 5.36, "W": 1.10, "Y": 2.92, "V": 6.86,
}  # fmt: skip
PADDED = 60


def deeplc(folder: Path) -> Network:
    """Mean difference to the original, in percent of its range, on 2,000 peptides drawn by chance.

    They are drawn as if a protein were cut by trypsin: natural shares of the amino acids, 7 to 30
    of them, the last one K or R.
    """
    name = "deeplc/mods/full_hc_PXD005573_pub_1fd8363d9af9dcad3be7553c39396960.keras"
    path = folder / "deeplc.keras"
    if not path.exists():
        path.write_bytes(member(folder, "deeplc", name).read())
    model = keras.saving.load_model(path, compile=False)
    table = io.TextIOWrapper(member(folder, "deeplc", "deeplc/aa_comp_rel.csv"))
    atoms = _composition(table)
    inputs = _features(_peptides(2512, seed=0), atoms)
    judged = [part[:2000] for part in inputs]
    before = model.predict(judged, batch_size=500, verbose=0)

    def loss(changed: keras.Model) -> float:
        after = changed.predict(judged, batch_size=500, verbose=0)
        return 100 * float(np.abs(after - before).mean() / np.ptp(before))

    calibration = [part[2000:] for part in inputs]

    def lessons(number: int):
        return _features(_peptides(20_000, seed=1 + number), atoms)

    return Network("deeplc", model, calibration, loss, "% of range", (0.5, 1.0, 2.0), lessons)


def _composition(table) -> dict[str, np.ndarray]:
    """Atoms of each amino acid within a peptide, in the order of `ATOMS`.

    The table is of the side chains, relative to glycine.
    """
    backbone = np.array([2, 3, 1, 1, 0, 0])
    rows = list(csv.DictReader(table))
    letter = next(iter(rows[0]))
    return {
        row[letter]: backbone + np.array([float(row.get(a) or 0) for a in ATOMS]) for row in rows
    }


def _peptides(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    inner = [letter for letter in SHARES if letter not in "KR"]
    share = np.array([SHARES[letter] for letter in inner])
    return [
        "".join(rng.choice(inner, rng.integers(6, 30), p=share / share.sum()))
        + rng.choice(["K", "R"])
        for _ in range(count)
    ]


def _features(peptides: list[str], atoms: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The inputs: atoms of each position, of each two, of the whole and its ends; letters."""
    each, pairs, whole, letters = [], [], [], []
    for peptide in peptides:
        of_position = np.zeros((PADDED, len(ATOMS)), np.float32)
        of_position[: len(peptide)] = [atoms[letter] for letter in peptide]
        ends = [atoms[letter] for letter in peptide[:4] + peptide[-4:]]
        one_hot = np.zeros((PADDED, len(LETTERS)), np.float32)
        one_hot[np.arange(len(peptide)), [LETTERS.index(letter) for letter in peptide]] = 1
        each.append(of_position)
        pairs.append(of_position.reshape(-1, 2, len(ATOMS)).sum(axis=1))
        whole.append(np.concatenate([of_position.sum(axis=0), [len(peptide)], *ends]))
        letters.append(one_hot)
    return [np.stack(part).astype("float32") for part in (each, pairs, whole, letters)]
