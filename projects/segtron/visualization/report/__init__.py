"""The report of a run: a page of its scores, its curves and its worst images."""
