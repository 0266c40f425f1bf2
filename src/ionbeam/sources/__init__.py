"""WHERE DATA COMES FROM: one file per feed."""
