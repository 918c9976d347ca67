"""Reading data sets, and making of images what models are fed."""
