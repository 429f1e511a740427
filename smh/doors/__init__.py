"""What users call on a built model."""
