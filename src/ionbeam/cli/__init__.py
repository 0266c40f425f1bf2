"""THE COMMAND LINE: one file per command group."""
