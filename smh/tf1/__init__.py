"""TensorFlow only: pools in TF1 graphs, and what says that TensorFlow is needed."""
