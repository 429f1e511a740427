"""A matrix from few numbers: the pools, their mathematics, their shape and their start."""
