"""A page of what is in data sets."""
