"""Transforms of the library albumentations as Detectron2's augmentations."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import detectron2.data.transforms as T
import numpy as np

from segtron.data.augmentations.filling import FillingTransform
from segtron.errors import UserError

_KEY = "INPUT.ALBUMENTATIONS"
# They move pixels by what labels or boxes say, change the numbers in labels, or need a function.
_REFUSED = frozenset(
    {
        "AtLeastOneBBoxRandomCrop",
        "BBoxSafeRandomCrop",
        "ConstrainedCoarseDropout",
        "CropNonEmptyMaskIfExists",
        "Lambda",
        "Morphological",
        "RandomSizedBBoxSafeCrop",
    }
)
# Parameters that say what becomes of labels, which is always the same.
_ABOUT_LABELS = frozenset({"fill_mask", "mask_interpolation", "mask_drop_value"})


def build_from_albumentations(
    entries: Sequence[Mapping[str, Any]], image_format: str
) -> list[T.Augmentation]:
    """Make augmentations of the entries of INPUT.ALBUMENTATIONS.

    Args:
        entries: each with `name`, a class of albumentations that changes or moves pixels, and its
            parameters.
        image_format: "BGR", "RGB" or "L".

    Raises:
        UserError: albumentations is not installed, or has no such transform or parameter; or labels
            can't follow the transform.
    """
    if not entries:
        return []
    library = _import_albumentations()
    return [
        FromAlbumentations(_build(library, entry, number), image_format)
        for number, entry in enumerate(entries)
    ]


class FromAlbumentations(T.Augmentation):
    """A transform of albumentations."""

    def __init__(self, transform: Any, image_format: str) -> None:
        """
        Args:
            transform: an `albumentations.ImageOnlyTransform` or `DualTransform`.
            image_format: of images; the transform sees "BGR" as RGB.
        """
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """See `detectron2.data.transforms.Augmentation`.

        What albumentations draws follows from one number of NumPy's global generator.

        Raises:
            UserError: the transform can't be applied to such an image.
        """
        self.transform.set_random_seed(int(np.random.randint(2**31)))
        if not self.transform.should_apply():
            return T.NoOpTransform()
        applied = _Applied(self.transform, self.image_format == "BGR")
        applied.draw(image)
        moves = hasattr(self.transform, "apply_to_mask")
        return _Moves(applied) if moves else _Shades(applied)


class _Applied:
    """One draw of a transform."""

    def __init__(self, transform: Any, is_bgr: bool) -> None:
        self._transform, self._is_bgr = transform, is_bgr
        self._params: dict[str, Any] = {}

    def draw(self, image: np.ndarray) -> None:
        """As `BasicTransform.__call__` does, which would transform, too."""
        transform, data = self._transform, {"image": self._in_rgb(image)}
        with _explained(transform, image.shape):
            params = transform.update_transform_params(transform.get_params(), data)
            self._params = params | transform.get_params_dependent_on_data(params, data)

    def to_image(self, image: np.ndarray) -> np.ndarray:
        with _explained(self._transform, image.shape):
            found = self._transform.apply_with_params(self._params, image=self._in_rgb(image))
        changed = found["image"]
        if changed.ndim == 2:  # OpenCV drops a channel that is alone
            changed = changed[:, :, None]
        if changed.dtype != np.uint8 or changed.shape[2] != image.shape[2]:
            raise UserError(
                f"{_KEY}: {_name(self._transform)} makes {changed.dtype} images with "
                f"{changed.shape[2]} channels of uint8 images with {image.shape[2]}; leave it out, "
                "since models normalise images themselves"
            )
        return self._in_rgb(changed)

    def to_labels(self, labels: np.ndarray) -> np.ndarray:
        with _explained(self._transform, labels.shape):
            labels = np.ascontiguousarray(labels)
            return self._transform.apply_with_params(self._params, mask=labels)["mask"]

    def _in_rgb(self, image: np.ndarray) -> np.ndarray:
        """Or back."""
        return np.ascontiguousarray(image[:, :, ::-1] if self._is_bgr else image)


class _Shades(T.Transform):
    """A draw that leaves each pixel where it is."""

    def __init__(self, applied: _Applied) -> None:
        self._applied = applied

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self._applied.to_image(img)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords


class _Moves(FillingTransform):
    """A draw that moves pixels."""

    def __init__(self, applied: _Applied) -> None:
        self._applied = applied

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self._applied.to_image(img)

    def move_labels(self, labels: np.ndarray) -> np.ndarray:
        return self._applied.to_labels(labels)


@contextmanager
def _explained(transform: Any, shape: tuple[int, ...]) -> Iterator[None]:
    """Turn a failure of albumentations into a sentence."""
    try:
        yield
    except Exception as error:  # some of its own kinds derive from nothing else
        raise UserError(
            f"{_KEY}: {_name(transform)} can't be applied to an image of {shape[1]} x {shape[0]}: "
            f"{_in_a_line(error)}; change its parameters or leave it out"
        ) from error


def _import_albumentations() -> ModuleType:
    # Else it asks the package index for its newest version each time that it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            f"{_KEY} needs the package albumentations, which can't be imported ({error}); "
            "pip install -e '.[albumentations]' in Segtron's folder, or empty the key"
        ) from error
    return albumentations


def _build(library: ModuleType, entry: Mapping[str, Any], number: int) -> Any:
    where = f"{_KEY}[{number}]"
    params = {key: value for key, value in entry.items() if key != "name"}
    kind = _transform_class(library, str(entry["name"]), where)
    about_labels = sorted(_ABOUT_LABELS & params.keys())
    if about_labels or params.get("area_for_downscale") == "image_mask":
        raise UserError(
            f"{where}: {entry['name']} has {(about_labels or ['area_for_downscale'])[0]}, but "
            "labels are never mixed, and void where nothing comes to; leave it out"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parameters that it doesn't know it only warns
            transform = kind(**params)
        looks_at = set(transform.targets_as_params)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: {entry['name']}: {_in_a_line(error)}; correct it") from error
    unknown = sorted(params.keys() - {*transform.get_transform_init_args_names()})
    if unknown:
        raise UserError(f"{where}: {entry['name']} has no parameter {unknown[0]!r}; correct it")
    if looks_at - {"image"}:
        raise _refusal(where, str(entry["name"]))
    return transform


def _transform_class(library: ModuleType, name: str, where: str) -> type:
    bases = (library.ImageOnlyTransform, library.DualTransform)
    known = {
        key: value
        for key, value in vars(library).items()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "its documentation lists them"
        raise UserError(f"{where}: albumentations has no transform of images {name!r}; {hint}")
    if name in _REFUSED or issubclass(known[name], library.Transform3D):
        raise _refusal(where, name)
    return known[name]


def _refusal(where: str, name: str) -> UserError:
    return UserError(
        f"{where}: {name} needs more than an image, or changes the numbers in labels, so that "
        "labels can't follow it; take another one"
    )


def _name(transform: Any) -> str:
    return type(transform).__name__


def _in_a_line(error: BaseException) -> str:
    """What a library says, without the links that pydantic adds."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if "errors.pydantic.dev" not in line).rstrip(".")
