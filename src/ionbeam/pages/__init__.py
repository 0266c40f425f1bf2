"""WHAT A PERSON SEES in a browser: catalogue, map, series, pipeline, fleet."""
