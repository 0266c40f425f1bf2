"""WHERE STATE RESTS: local objects, Parquet chunks, SQLite."""
