"""Labelling formats read as one (`labelled_image`), and written as COCO's files (`coco_files`).

A reader of a format is a function `open_FORMAT(src, dropped, **options) -> Labelling`. `formats`
lists them; docs/converting.md shows how to add one of your own.
"""
