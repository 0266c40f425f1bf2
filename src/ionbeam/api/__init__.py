"""HTTP: one router per resource; errors become a status in one table."""
