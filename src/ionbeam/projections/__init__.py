"""WHO READS IT: one file per read model, told of every window revision."""
