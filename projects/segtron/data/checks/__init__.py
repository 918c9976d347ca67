"""What is wrong with a data set, before it breaks a training or its scores: all of it at once."""
