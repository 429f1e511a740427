"""How virtual variables live in Keras' layers: the only code that reaches into Keras' insides.

Each use says which behaviour of Keras it relies on; `tests/test_keras_internals.py` fails first
when Keras changes it.
"""
