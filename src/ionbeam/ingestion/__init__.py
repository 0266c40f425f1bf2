"""MAKING IT CANONICAL: map, coerce, check, store, announce."""
