"""WHEN WE ASK: spans due, lag, cadence, catch-up, backfill."""
