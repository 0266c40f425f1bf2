"""WHAT IS TRUE ENOUGH: one check per file, batch in, flags or report out."""
