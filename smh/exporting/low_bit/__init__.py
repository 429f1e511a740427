"""Weights that are whole numbers stay whole numbers in files for other runtimes.

`integers` says which weights of a model those are, and lets a converter see each as one dense
constant, which it may transpose and merge with what follows. `matching` then finds the constants
in what the converter wrote, `onnx_writing` and `litert_writing` put the integers in their place.
"""
