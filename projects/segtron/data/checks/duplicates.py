"""Pictures that come twice: the same bytes, or the same picture by its perceptual hash."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from segtron.data.checks.images import ListedImage
from segtron.data.checks.pictures import Picture
from segtron.data.checks.problems import Problems
from segtron.data.each_item import go_through

# Of 256 bits of dHash, so many may differ, and so many grey levels the small copies on average:
# what scaling and saving as JPEG changes.
MOST_BITS, MOST_GREY = 12, 3.0
# Pictures with less contrast look alike from afar: only their bytes tell.
LEAST_CONTRAST = 4.0
_ROWS_AT_ONCE = 256


def check_duplicates(
    sets: Sequence[tuple[str, Sequence[ListedImage]]],
    pictures: Mapping[Path, Picture],
    problems: Problems,
) -> None:
    """Enter pictures that come twice in a set, or in two sets of different roles.

    Args:
        sets: role and images of each set; sets of one role are not compared.
        pictures: by path, what they are.
        problems: what is wrong is entered there.
    """
    owners: dict[Path, dict[str, ListedImage]] = defaultdict(dict)
    for role, listed in sets:
        for image in listed:
            owners[image.path].setdefault(role, image)
    for path, by_role in owners.items():
        if len(by_role) > 1 and not pictures[path].error:
            _enter_shared(list(by_role.values()), problems)
    paths = [path for path in owners if not pictures[path].error]
    same_file = _same_bytes([pictures[path] for path in paths])
    for kind, pairs in (
        ("file", same_file),
        ("picture", _same_looks([pictures[path] for path in paths], same_file)),
    ):
        for later, earlier in sorted(pairs.items()):
            _enter(kind, owners[paths[later]], owners[paths[earlier]], problems)


def _enter_shared(images: Sequence[ListedImage], problems: Problems) -> None:
    first, *others = images
    for other in others:
        problems.add(
            "file-in-two-sets", other.file, other.entry, f"it is {first.entry} of {first.file}, too"
        )


def _enter(
    kind: str,
    later: Mapping[str, ListedImage],
    earlier: Mapping[str, ListedImage],
    problems: Problems,
) -> None:
    """Enter a pair once, as one of two sets if it can be."""
    same = "it is the same file as" if kind == "file" else "it shows the same picture as"
    for role, image in later.items():
        for other_role, other in earlier.items():
            if role != other_role:
                problems.add(
                    f"{kind}-in-two-sets",
                    image.file,
                    image.entry,
                    f"{same} {other.entry} of {other.file}",
                )
                return
    for role in later.keys() & earlier.keys():
        image, other = later[role], earlier[role]
        problems.add(f"{kind}-repeated", image.file, image.entry, f"{same} {other.entry}")
        return


def _same_bytes(pictures: Sequence[Picture]) -> dict[int, int]:
    """Place of a picture -> place of the first file with the same bytes."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        by_length[picture.num_bytes].append(place)
    doubtful = [place for places in by_length.values() if len(places) > 1 for place in places]
    hashes = go_through(lambda place: _digest(pictures[place].path), doubtful, "comparing files")
    first_of: dict[bytes, int] = {}
    found = {}
    for place, digest in sorted(zip(doubtful, hashes, strict=True)):
        first = first_of.setdefault(digest, place)
        if first != place and digest:
            found[place] = first
    return found


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return b""


def _same_looks(pictures: Sequence[Picture], same_file: Mapping[int, int]) -> dict[int, int]:
    """Place of a picture -> place of the first one that looks the same; not of the same files."""
    places = np.array(
        [
            place
            for place, picture in enumerate(pictures)
            if place not in same_file and picture.thumbnail.std() >= LEAST_CONTRAST
        ],
        np.int64,
    )
    if not len(places):
        return {}
    thumbnails = np.stack([pictures[place].thumbnail for place in places.tolist()])
    found: dict[int, int] = {}
    for first, second in similar_pairs(thumbnails):
        later, earlier = sorted((int(places[first]), int(places[second])), reverse=True)
        found[later] = min(earlier, found.get(later, earlier))
    return found


def similar_pairs(thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of pictures that look the same.

    Args:
        thumbnails: (N, 16, 17) uint8, small grey copies.

    Yields:
        Two places.
    """
    grey = thumbnails.astype(np.int16)
    bits = grey[:, :, 1:] > grey[:, :, :-1]
    hashes = np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint64)
    # Only pictures of nearly the same mean are compared.
    means = grey.mean(axis=(1, 2))
    order = np.argsort(means, kind="stable")
    hashes, means, grey = hashes[order], means[order], grey[order]
    for first in range(0, len(order), _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, len(order)))
        last = int(np.searchsorted(means, means[rows][-1] + MOST_GREY, side="right"))
        distances = np.zeros((rows.stop - first, last - first), np.uint16)
        for word in range(hashes.shape[1]):
            distances += np.bitwise_count(hashes[rows, word, None] ^ hashes[first:last, word])
        near, far = np.nonzero(distances <= MOST_BITS)
        later = far > near
        near, far = near[later] + first, far[later] + first
        for start in range(0, len(near), 4096):
            a, b = near[start : start + 4096], far[start : start + 4096]
            alike = np.abs(grey[a] - grey[b]).mean(axis=(1, 2)) <= MOST_GREY
            yield from zip(order[a[alike]].tolist(), order[b[alike]].tolist(), strict=True)
