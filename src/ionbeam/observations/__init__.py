"""WHAT IS SAID: variables, units, datasets, Arrow schemas, spans of time. Pure values and functions."""
