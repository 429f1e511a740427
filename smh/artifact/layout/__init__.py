"""What an artifact says of its models: `docs/format.md`, "Models", in code. NumPy only.

`brief` and `pools` leave out of a description what follows from the rest, and put it back;
`reading` checks what a file says and numbers its variables; `records` is what it is read into.
"""
