"""What a user's examples say of a model: batches of them, and gradients of its outputs there."""
