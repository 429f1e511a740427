"""The file of a compressed model: `files` writes and reads it, `layout` says what stands in it.

`saving` and `loading` turn live models into a header and `tensors`, and back; `order` is the order
of the variables in both. `inspection` and `layout` need neither Keras nor TensorFlow.
"""
