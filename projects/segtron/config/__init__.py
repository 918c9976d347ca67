"""Configuration: Detectron2's keys, Segtron's own, and safe loading."""

from segtron.config.defaults import get_default_config
from segtron.config.loading import completes_config, load_config, read_config_tree

__all__ = ["completes_config", "get_default_config", "load_config", "read_config_tree"]
