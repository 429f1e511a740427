"""What a model takes: its numbers, bytes and multiply-adds, now and if it were compressed."""
