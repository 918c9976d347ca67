"""load_config: chains, paths, mistakes, and what follows from the data."""

import json
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

from segtron.config import load_config
from segtron.errors import UserError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_coco(path: Path, names: list[str]) -> Path:
    categories = [{"id": 10 * i + 1, "name": name} for i, name in enumerate(names)]
    content = {"images": [], "annotations": [], "categories": categories}
    return write(path, json.dumps(content))


def test_nearer_files_and_the_command_line_win(tmp_path: Path) -> None:
    write(tmp_path / "base" / "a.yaml", "SOLVER: {BASE_LR: 0.1, MAX_ITER: 1, GAMMA: 0.5}")
    write(tmp_path / "b.yaml", "_BASE_: base/a.yaml\nSOLVER: {BASE_LR: 0.2, MAX_ITER: 2}")
    cfg = load_config(tmp_path / "b.yaml", ["SOLVER.MAX_ITER", "3"])
    assert (cfg.SOLVER.GAMMA, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.5, 0.2, 3)
    assert cfg.is_frozen()


def test_several_bases_the_later_wins(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "SOLVER: {BASE_LR: 0.1, MAX_ITER: 1}")
    write(tmp_path / "b.yaml", "SOLVER: {BASE_LR: 0.2}")
    cfg = load_config(write(tmp_path / "c.yaml", "_BASE_: [a.yaml, b.yaml]"))
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.2, 1)


def test_detectron2s_own_config_by_name() -> None:
    cfg = load_config("Cityscapes/mask_rcnn_R_50_FPN.yaml")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 8
    assert cfg.DATASETS.THING_CLASSES[0] == "person"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODEL: {MASK: True}", "did you mean MODEL.MASK_ON?"),
        ("MAX_ITER: 3", "did you mean SOLVER.MAX_ITER?"),
        ("SOLVER: {MAX_ITER: soon}", "SOLVER.MAX_ITER"),
        ("SOLVER: 3", "group of keys"),
        ("a: [", "line 1: broken YAML"),
        ("- 1", "a YAML mapping"),
        ("_BASE_: gone.yaml", "gone.yaml does not exist"),
        ("_BASE_: here.yaml", "comes back to itself"),
        ("VERSION: 1", "VERSION 1 is not supported"),
        ("_BASE_:", "_BASE_ is None"),
        ("_BASE_: 3", "_BASE_ is 3"),
        ("OUTPUT_DIR:", "OUTPUT_DIR has no value"),
        ("DATASETS: {TRAIN: null}", "DATASETS.TRAIN has no value"),
        ("MODEL.WEIGHTS: x", "nest it, MODEL: {WEIGHTS: …}"),
        ("OUTPUT_DIR: 2020-13-45", "broken YAML"),
        ("[" * 3000, "broken YAML"),
        ("MODEL: &itself {MODEL: *itself}", "an alias"),
        (
            "\n".join(
                ["a: &a0 {k: v}"] + [f"b{i}: &a{i + 1} [{f'*a{i}, ' * 10}]" for i in range(9)]
            ),
            "an alias",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "here.yaml", text)
    with pytest.raises(UserError) as error:
        load_config(path)
    assert said in str(error.value)
    assert "here.yaml" in str(error.value)


def test_a_whole_number_is_a_float_where_one_is_wanted(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path / "a.yaml", "SOLVER: {BASE_LR: 1}"), ["SOLVER.GAMMA", "2"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.GAMMA) == (1.0, 2.0)
    assert isinstance(cfg.SOLVER.BASE_LR, float)
    assert isinstance(cfg.SOLVER.GAMMA, float)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.system"])
def test_a_config_runs_no_code(tmp_path: Path, tag: str) -> None:
    made = tmp_path / "made"
    path = write(tmp_path / "evil.yaml", f"OUTPUT_DIR: {tag} ['{made}']")
    with pytest.raises(UserError, match="run no code"):
        load_config(path)
    assert not made.exists()


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["SOLVER.MAX_ITER"], "stands alone"),
        (["SOLVER.MAXITER", "3"], "did you mean SOLVER.MAX_ITER?"),
        (["SOLVER.MAX_ITER", "x"], "SOLVER.MAX_ITER"),
        (["OUTPUT_DIR", "None"], "OUTPUT_DIR has no value"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(tmp_path: Path, opts: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(write(tmp_path / "a.yaml", ""), opts)
    assert said in str(error.value)


def test_a_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "mask_rcnn.yaml", "")
    with pytest.raises(UserError, match=r"did you mean .*mask_rcnn\.yaml"):
        load_config(tmp_path / "mask_rnn.yaml")


def test_register_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write_coco(tmp_path / "deep" / "gt.json", ["cat", "dog", "cow"])
    entry = "{name: config_relative, type: coco_instance, json: gt.json, images: img}"
    write(
        tmp_path / "deep" / "base.yaml",
        f"DATASETS: {{REGISTER: [{entry}], TRAIN: [config_relative], TEST: []}}",
    )
    cfg = load_config(write(tmp_path / "top.yaml", "_BASE_: deep/base.yaml"))
    assert Path(cfg.DATASETS.REGISTER[0]["json"]).samefile(tmp_path / "deep" / "gt.json")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert cfg.DATASETS.THING_CLASSES == ["cat", "dog", "cow"]
    assert MetadataCatalog.get("config_relative").thing_dataset_id_to_contiguous_id == {
        1: 0,
        11: 1,
        21: 2,
    }


def test_a_class_count_that_contradicts_the_data_names_both(tmp_path: Path) -> None:
    write_coco(tmp_path / "gt.json", ["cat", "dog", "cow"])
    entry = "{name: config_contradicts, type: coco_instance, json: gt.json, images: img}"
    datasets = f"DATASETS: {{REGISTER: [{entry}], TRAIN: [config_contradicts], TEST: []}}"
    path = write(tmp_path / "a.yaml", datasets + "\nMODEL: {ROI_HEADS: {NUM_CLASSES: 5}}")
    with pytest.raises(UserError, match=r"is 5, but config_contradicts has 3 classes"):
        load_config(path)


@pytest.mark.parametrize("config", ["toytown/mask_rcnn_lite0_FPN", "cityscapes/mask_rcnn_R_50_FPN"])
def test_own_data_takes_the_place_of_a_configs(tmp_path: Path, config: str) -> None:
    write_coco(tmp_path / "gt.json", ["cat", "dog", "cow"])
    entry = "{name: config_own, type: coco_instance, json: gt.json, images: img}"
    datasets = f"DATASETS: {{REGISTER: [{entry}], TRAIN: [config_own], TEST: [config_own]}}"
    base = Path(__file__).parents[2] / "configs" / f"{config}.yaml"
    cfg = load_config(write(tmp_path / "a.yaml", f"_BASE_: {base}\n{datasets}"))
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3


def test_data_sets_with_different_classes_are_refused(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", ["cat", "dog"])
    write_coco(tmp_path / "b.json", ["dog", "cat"])
    entries = ", ".join(
        f"{{name: config_differ_{x}, type: coco_instance, json: {x}.json, images: .}}" for x in "ab"
    )
    path = write(
        tmp_path / "c.yaml",
        f"DATASETS: {{REGISTER: [{entries}], TRAIN: [config_differ_a], TEST: [config_differ_b]}}",
    )
    with pytest.raises(UserError, match="different classes"):
        load_config(path)


def test_the_written_config_loads_where_the_data_is_not(tmp_path: Path) -> None:
    json_file = write_coco(tmp_path / "gt.json", ["cat", "dog", "cow"])
    entry = "{name: config_absent, type: coco_instance, json: gt.json, images: img}"
    datasets = f"DATASETS: {{REGISTER: [{entry}], TRAIN: [config_absent], TEST: [config_absent]}}"
    cfg = load_config(write(tmp_path / "a.yaml", datasets))
    json_file.unlink()
    again = load_config(write(tmp_path / "config.yaml", cfg.dump()))
    assert again.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert again.DATASETS.THING_CLASSES == ["cat", "dog", "cow"]
    assert again.DATASETS.REGISTER == cfg.DATASETS.REGISTER


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{type: coco_instance}", "has no 'name'"),
        ("{name: x, type: voc}", "known: coco_instance"),
        ("{name: x, type: coco_instance, json: a}", "has no 'images'"),
        ("{name: x, type: coco_instance, json: a, images: b, mask: c}", "unknown field 'mask'"),
        ("{name: coco_2017_val, type: coco_instance, json: a, images: b}", "built-in"),
        ("nothing", "must be a mapping"),
        ("{name: ../../mine, type: coco_instance, json: a, images: b}", "without slashes"),
        ("{name: .., type: coco_instance, json: a, images: b}", "without slashes"),
        ("{name: /mine, type: coco_instance, json: a, images: b}", "without slashes"),
    ],
)
def test_a_wrong_register_entry_is_named(tmp_path: Path, entry: str, said: str) -> None:
    path = write(tmp_path / "a.yaml", f"DATASETS: {{REGISTER: [{entry}], TRAIN: [], TEST: []}}")
    with pytest.raises(UserError) as error:
        load_config(path)
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["MODEL.KEYPOINT_ON", "TEST.PRECISE_BN.ENABLED"])
def test_what_is_not_supported_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=f"{key} is True, which Segtron does not support"):
        load_config(write(tmp_path / "a.yaml", ""), [key, "True"])


@pytest.mark.parametrize("text", ["[res4, res5]", "['res4', 'res5']", '["res4","res5"]'])
def test_words_in_a_list_need_no_quotes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").touch()
    cfg = load_config(tmp_path / "a.yaml", ["MODEL.SEM_SEG_HEAD.IN_FEATURES", text])
    assert cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES == ["res4", "res5"]


@pytest.mark.parametrize("text", ["res5", "256", "[res5"])
def test_what_is_no_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(UserError, match=r"IN_FEATURES is .*; it must be a list, such as"):
        load_config(tmp_path / "a.yaml", ["MODEL.SEM_SEG_HEAD.IN_FEATURES", text])
