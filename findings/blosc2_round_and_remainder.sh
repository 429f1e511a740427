#!/bin/sh
# blosc2 4.14.1, NumPy 2.4.6
#
# blosc2 computes on compressed arrays with NumPy's names, and its texts refer to NumPy's functions. Two of those that
# quantisers are made of differ, silently: `blosc2.round` takes halves away from zero (NumPy: to the even number), and
# `remainder` and `%`, "equivalent to the Python modulus operator", have the sign of the number divided (C's rule;
# Python and NumPy: of the divisor), while `//` is rounded down as NumPy's is, so that `x // n * n + x % n` is not `x`.
# Halves are no rarity where integers are divided or scales are powers of two: all of them move away from zero. Use `floor(x + 0.5)` where one rule must hold everywhere, and `x - n * floor(x / n)`.
#
# Seen: round of -2.5, -1.5, -0.5, 0.5, 1.5, 2.5: -3, -2, -1, 1, 2, 3 (NumPy -2, -2, -0, 0, 2, 2). Of 100,000 int8,
# halved and rounded, 25 % differ, and their mean size is 32.21 instead of 31.96. -7 % 3: -1 (NumPy 2). Of 100,000
# int8, the remainder by 16 differs in 47 %, and `x // 16 * 16 + x % 16` is another number in as many.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet blosc2==4.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import blosc2
import numpy as np

halves = np.arange(-2.5, 3, dtype="float32")
seen, right = blosc2.round(blosc2.asarray(halves))[:], np.round(halves)
print("round of", halves, "blosc2", seen, "NumPy", right)
whole = np.random.default_rng(0).integers(-128, 128, 100_000).astype("int8")
packed = blosc2.asarray(whole)
half = (whole / 2).astype("float32")
ours, theirs = blosc2.round(blosc2.asarray(half))[:], np.round(half)
sizes = [float(np.abs(y).mean()) for y in (ours, theirs)]
print(f"int8 halved and rounded: {(ours != theirs).mean():.1%} differ, mean size {sizes[0]:.3f}, NumPy {sizes[1]:.3f}")
even = blosc2.floor(blosc2.asarray(half) + 0.5)[:]
assert (even == np.floor(half + 0.5)).all()
signed = np.array([-7, -1, 5], "int8")
print("% 3 of", signed, "blosc2", (blosc2.asarray(signed) % 3)[:], "NumPy", signed % 3)
shares = []
for name, got, should in (
    ("%", (packed % 16)[:], whole % 16),
    ("remainder", blosc2.remainder(packed, 16)[:], np.remainder(whole, 16)),
    ("//", (packed // 16)[:], whole // 16),
    ("// and % put together", (packed // 16)[:].astype(int) * 16 + (packed % 16)[:], whole),
):
    shares.append(float((got != should).mean()))
    print(f"int8 by 16, {name}: {shares[-1]:.1%} differ")
assert shares[2] == 0
by_floor = (packed - 16 * blosc2.floor(blosc2.asarray(whole.astype("float32")) / 16))[:]
assert (by_floor == whole % 16).all()
if (seen == right).all() or (ours == theirs).all():
    raise SystemExit("halves go to the even number: the behaviour has changed")
if min(shares[0], shares[1], shares[3]) == 0:
    raise SystemExit("the remainder has the divisor's sign: the behaviour has changed")
PYTHON
