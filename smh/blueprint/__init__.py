"""How a model is compressed, as plain JSON (`describe`), and the way back (`restore`).

A description holds the structure: which weights of which layers are computed from what, where in
which pool they lie, and the names, shapes and dtypes of the variables that belong to each. It
holds no values. Restoring it on a freshly built dense model of the same architecture gives a model
with the same variables in the same order, into which the values can then be loaded.

`{"pools": [{"class", "config"}], "weights": [{"layers", "places", "variable", "path", "shape",
"dtype", "trainable", "frozen", "pool", "slot": {"begin", "length"}, "parametrization": {"class",
"config"}, "parts": [{"name", "shape", "dtype", "trainable"}]}]}`, where

- `layers` are the numbers, in `members(model)`, of the layers that track the weight, and `places`
  where the holder of each is among that layer's own layers;
- `variable` is its number among the variables of the first of these;
- `pool` is the number of a pool; it and `slot` are null for what needs none;
- `frozen` says that the weight keeps a snapshot of its value, while others still train the pool.

A model that is made again may list its layers and their variables in another order. Then "layers"
beside "weights" has the names (`names_of`) of what the numbers count. The paths of weights are for
messages: a weight is found by its layers. A pool whose factors are virtual
themselves has "inside", a description of its own.
"""
