"""Pictures: instances on images, ground truth beside prediction, training curves."""
