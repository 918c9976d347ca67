"""From a YAML file and KEY VALUE pairs to a frozen config."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from segtron.config.checks import check_values
from segtron.config.defaults import get_default_config
from segtron.errors import UserError

BASE_KEY = "_BASE_"
# Fields of a DATASETS.REGISTER entry that hold a path.
REGISTER_PATH_FIELDS = ("json", "images", "labels", "panoptic")
# More than any config has; an alias (*) in YAML can make a small file endless.
_MOST_VALUES, _MOST_LEVELS = 100_000, 32

Completion = Callable[[CfgNode, frozenset[str]], None]
_completions: list[Completion] = []


def completes_config(function: Completion) -> Completion:
    """Decorator: let `load_config` call `function(cfg, given)` before it freezes a config.

    It is for values that follow from something outside the config: the number of classes from the
    data, the pixel mean from the backbone's weights. `given` holds the dotted keys that the user
    set, in a file or by KEY VALUE: those are the user's, to be checked but never changed.
    """
    _completions.append(function)
    return function


def load_config(path: str | Path, opts: Sequence[str] = ()) -> CfgNode:
    """Load a config: defaults, then the file with its `_BASE_` chain, then KEY VALUE pairs.

    YAML is loaded safely: no tag in it runs code. What follows from the data or the backbone
    (number and names of classes, pixel mean) is filled in where it isn't given.

    Args:
        path: a YAML file. A name that is no file here but one of Detectron2's own configs, such as
            "Cityscapes/mask_rcnn_R_50_FPN.yaml", is taken from the installed Detectron2.
        opts: alternating keys and values, e.g. `["SOLVER.BASE_LR", "0.01"]`.

    Returns:
        The frozen config, ready for `detectron2.modeling.build_model`.

    Raises:
        UserError: the file is missing or is no YAML mapping, a key is unknown, a value has another
            type than the default or is none that the key can have, or the config contradicts the
            data.

    Example:
        >>> cfg = load_config("configs/toytown/mask_rcnn_lite0_FPN.yaml", ["SOLVER.MAX_ITER",
        "100"])
    """
    cfg = get_default_config()
    path = _find(Path(path))
    tree = _read_chain(path, ())
    _check_keys(tree, cfg, str(path))
    if tree.get("VERSION", cfg.VERSION) != cfg.VERSION:
        raise UserError(
            f"{path}: VERSION {tree['VERSION']} is not supported; update the file to version "
            f"{cfg.VERSION}"
        )
    _merge(cfg, tree, str(path))
    given = set(_leaves(tree))
    given |= _merge_opts(cfg, [str(opt) for opt in opts])
    check_values(cfg)
    for complete in _completions:
        complete(cfg, frozenset(given))
    cfg.freeze()
    return cfg


def read_config_tree(path: str | Path) -> dict[str, Any]:
    """What a config file and its `_BASE_` chain say, as they say it: neither checked nor completed.

    Args:
        path: as for `load_config`.

    Raises:
        UserError: a file is missing or is no YAML mapping.
    """
    return _read_chain(_find(Path(path)), ())


def _find(path: Path) -> Path:
    path = path.expanduser()
    if path.is_file():
        return path
    spec = importlib.util.find_spec("detectron2")
    if spec is not None and spec.origin is not None and not path.is_absolute():
        zoo = Path(spec.origin).parent / "model_zoo" / "configs" / path
        if zoo.is_file():
            return zoo
    if path.is_dir():
        raise UserError(f"{path} is a folder; --config-file wants a YAML file")
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
    hint = f"; did you mean {path.parent / near[0]}?" if near else ""
    raise UserError(f"config file {path} does not exist{hint}")


def _read_chain(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Read one file and, below it, what its `_BASE_` names; values nearer to the user win."""
    path = path.resolve()
    if path in seen:
        raise UserError(f"{path}: its {BASE_KEY} chain comes back to itself; remove one link")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{seen[-1]}: its {BASE_KEY} {path} does not exist; paths are relative to the file "
            "that they stand in"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8; a config is YAML") from error
    except yaml.constructor.ConstructorError as error:
        problem = " ".join(str(error.problem).split())
        raise UserError(
            f"{path}, line {_line(error)}: {problem}; configs hold plain values and run no code"
        ) from error
    except yaml.YAMLError as error:
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise UserError(f"{path}, line {_line(error)}: broken YAML ({problem})") from error
    except (ValueError, RecursionError) as error:  # a date in a 13th month, a thousand brackets
        raise UserError(f"{path}: broken YAML ({error})") from error
    if tree is None:
        tree = {}
    _check_extent(tree, path)
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: a config is a YAML mapping of keys to values, not a {type(tree).__name__}"
        )
    _resolve_register(tree, path)
    bases = tree.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(
            f"{path}: {BASE_KEY} is {bases!r}; it must be a file name or a list of them"
        )
    merged: dict[str, Any] = {}
    for base in bases:
        _overlay(merged, _read_chain(path.parent / Path(base).expanduser(), (*seen, path)))
    _overlay(merged, tree)
    return merged


def _line(error: yaml.YAMLError) -> int | str:
    mark = getattr(error, "problem_mark", None)
    return "?" if mark is None else mark.line + 1


def _check_extent(tree: Any, path: Path) -> None:
    count, waiting = 0, [(tree, 0)]
    while waiting:
        node, level = waiting.pop()
        count += 1
        if count > _MOST_VALUES or level > _MOST_LEVELS:
            raise UserError(
                f"{path} nests deeper or holds more than a config can; does an alias (*) in it "
                "contain itself?"
            )
        children = node.values() if isinstance(node, dict) else node
        waiting += [(child, level + 1) for child in children if isinstance(child, dict | list)]


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


def _resolve_register(tree: Mapping[str, Any], path: Path) -> None:
    """Make the paths of DATASETS.REGISTER absolute; they are relative to the file they stand in."""
    datasets = tree.get("DATASETS")
    entries = datasets.get("REGISTER") if isinstance(datasets, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        for field in REGISTER_PATH_FIELDS:
            if isinstance(entry, dict) and isinstance(entry.get(field), str):
                entry[field] = str(path.parent / Path(entry[field]).expanduser())


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _unknown_key(key: str, cfg: CfgNode, where: str) -> UserError:
    known = list(_leaves(cfg))
    # Most mistakes are a wrong word at the right place or the right word at a wrong place.
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75) or [
        k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
    ]
    near = near or difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"{where}: unknown config key {key}{hint}")


def _check_keys(tree: Mapping[str, Any], cfg: CfgNode, where: str) -> None:
    for key in _leaves(tree):
        node: Any = cfg
        for part in key.split("."):
            if not isinstance(node, CfgNode) or part not in node:
                raise _unknown_key(key, cfg, where)
            node = node[part]
        if isinstance(node, CfgNode):
            raise UserError(
                f"{where}: {key} is a group of keys; give {key}.<KEY> a value, not {key} itself"
            )


def _merge(cfg: CfgNode, tree: dict[str, Any], where: str) -> None:
    _fit_to_defaults(tree, cfg, where)
    try:
        cfg.merge_from_other_cfg(CfgNode(tree))
    except (ValueError, AssertionError, KeyError) as error:
        raise UserError(f"{where}: {_plain(error)}") from error


def _fit_to_defaults(tree: dict[str, Any], cfg: CfgNode, where: str, group: str = "") -> None:
    """What yacs takes too strictly and too freely: a whole number is a float, nothing no value."""
    for key, value in tree.items():
        if key not in cfg:
            raise UserError(
                f"{where}: {group}{key} is one key with dots; nest it, "
                + "".join(f"{part}: {{" for part in key.split(".")[:-1])
                + f"{key.split('.')[-1]}: …"
                + "}" * key.count(".")
            )
        if isinstance(value, dict) and isinstance(cfg[key], CfgNode):
            _fit_to_defaults(value, cfg[key], where, f"{group}{key}.")
            continue
        decoded = CfgNode._decode_cfg_value(value)
        if decoded is None and cfg[key] is not None:
            raise UserError(
                f"{where}: {group}{key} has no value; give it one or leave the key out, for "
                f"{cfg[key]!r}"
            )
        if isinstance(cfg[key], list | tuple) and isinstance(decoded, str | int | float):
            raise UserError(
                f"{where}: {group}{key} is {decoded!r}; it must be a list, such as [{decoded}]"
            )
        if isinstance(cfg[key], float) and type(decoded) is int:
            tree[key] = float(decoded)


def _merge_opts(cfg: CfgNode, opts: list[str]) -> set[str]:
    if len(opts) % 2:
        raise UserError(
            f"config options are pairs KEY VALUE, but {opts[-1]!r} stands alone at the end; "
            "put options that begin with -- before them"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        _check_keys({key: value}, cfg, "command line")
        tree: Any = _read_list(value)
        for part in reversed(key.split(".")):
            tree = {part: tree}
        _merge(cfg, tree, "command line")
    for entry in cfg.DATASETS.REGISTER:
        for field in REGISTER_PATH_FIELDS:
            if isinstance(entry, dict) and isinstance(entry.get(field), str):
                entry[field] = str(Path(entry[field]).expanduser().absolute())
    return set(opts[::2])


def _read_list(value: str) -> Any:
    """A list of words without quotes, "[res4, res5]", as YAML has it; any other text as it is."""
    if not value.lstrip().startswith("[") or not isinstance(CfgNode._decode_cfg_value(value), str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _plain(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())
