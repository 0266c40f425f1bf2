"""CLOSING WINDOWS: coverage, readiness, coordinator, builder, revisions."""
