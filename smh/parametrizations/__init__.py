"""What a virtual variable is computed from: the table of the design, one file a row."""
