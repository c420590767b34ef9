"""The layers of the code: what may import what, and how files are made.

Each rule is a function from the repository's folder to its faults, one line each, so
that the rules themselves are tested on made-up folders below.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Imports point to a lower layer, or stay in their own. A new module gets its line here.
LAYERS = {
    "mobilenas_tf.block_space": 0,
    "mobilenas_tf.decisions": 0,
    "mobilenas_tf.detection_spec": 0,
    "mobilenas_tf.interruption": 0,
    "mobilenas_tf.joint_space": 0,
    "mobilenas_tf.names": 0,
    "mobilenas_tf.one_shot_space": 0,
    "mobilenas_tf.options": 0,
    "mobilenas_tf.space": 0,
    "mobilenas_tf.spec": 0,
    "mobilenas_tf.spec_fields": 0,
    "mobilenas_tf.whole_files": 0,
    "mobilenas_tf.widths": 0,
    "mobilenas_tf.architecture_source": 1,
    "mobilenas_tf.block_spaces": 1,
    "mobilenas_tf.joint_spaces": 1,
    "mobilenas_tf.json_io": 1,
    "mobilenas_tf.json_text": 1,
    "mobilenas_tf.one_shot_spaces": 1,
    "mobilenas_tf.provenance": 1,
    "mobilenas_tf.spaces": 1,
    "mobilenas_tf.zoo": 1,
    "mobilenas_tf.zoo_fbnet": 1,
    "mobilenas_tf.costs": 2,
    "mobilenas_tf.layers": 3,
    "mobilenas_tf.models": 4,
    "mobilenas_tf.training": 5,
    "detection": 6,
    "export": 6,
    "mobilenas_tf.reporting": 6,
    "mobilenas_tf.search": 6,
    "tools": 7,
    "benchmarks": 8,
}
SIBLINGS_LAYER = 6  # its packages do not import each other
# They import no TensorFlow, not even inside a function, and nothing of ours that might.
TENSORFLOW_FREE = (
    *(module for module, layer in LAYERS.items() if layer <= 1),
    "mobilenas_tf.costs*",
    "mobilenas_tf.reporting*",
    "mobilenas_tf.training.cuts",
    "mobilenas_tf.training.folder_lock",
    "mobilenas_tf.training.recipe",
    "mobilenas_tf.training.run_dir",
    "*.config",
)
TENSORFLOW = {
    "keras",
    "keras_cv",
    "tensorflow",
    "tensorflow_datasets",
    "tensorflow_model_optimization",
    "tf_keras",
}
# What they read may run code that stands in the file.
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
# Ray carries what goes between a search and its workers as pickles, inside of one run
# and its cluster: no file is read so. Nothing else may make use of that.
RAY_WORKERS = "mobilenas_tf.search.ray_workers"
# By the end of the called name: code out of a file, a text that a shell reads, members
# of an archive under names of their own.
UNSAFE_CALLS = {
    "eval",
    "exec",
    "os.popen",
    "os.system",
    "read_pickle",
    "load_model",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "torch.load",
    "extract",
    "extractall",
    "unpack_archive",
}
# Keywords that must have this value wherever they are given, and where they must be.
SAFE_KEYWORDS = {"allow_pickle": "False", "shell": "False", "safe_mode": "True"}
NEEDED_KEYWORDS = {"np.load": "allow_pickle", "numpy.load": "allow_pickle"}
MAX_LINES = 500


def find_layer_faults(root: Path) -> Iterator[str]:
    for path, module in _modules(root).items():
        unit = _unit(module)
        if unit is None:
            if path.name != "__init__.py":
                yield f"{path.relative_to(root)}: {module} has no layer in LAYERS"
            continue
        for line, imported in _imports(path, root):
            other = _unit(imported)
            if other is None or other == unit:
                continue
            is_sibling = LAYERS[unit] == LAYERS[other] == SIBLINGS_LAYER
            if LAYERS[unit] < LAYERS[other] or is_sibling:
                yield (
                    f"{path.relative_to(root)}:{line}: {unit} (layer {LAYERS[unit]}) "
                    f"imports {imported} (layer {LAYERS[other]})"
                )


def find_tensorflow_faults(root: Path) -> Iterator[str]:
    for path, module in _modules(root).items():
        if not _is_tensorflow_free(module):
            continue
        for line, imported in _imports(path, root):
            is_ours = _unit(imported) is not None
            is_tensorflow = imported.partition(".")[0] in TENSORFLOW
            if is_tensorflow or (is_ours and not _is_tensorflow_free(imported)):
                yield (
                    f"{path.relative_to(root)}:{line}: {module} must be free of "
                    f"TensorFlow and imports {imported}"
                )


def find_flag_faults(root: Path) -> Iterator[str]:
    for path, module in _modules(root).items():
        if module.partition(".")[0] in ("tools", "benchmarks"):
            continue
        for line, imported in _imports(path, root):
            if imported == "absl.flags" or imported.startswith("absl.flags."):
                yield f"{path.relative_to(root)}:{line}: {module} imports absl.flags"


def find_file_faults(root: Path) -> Iterator[str]:
    for path in sorted([*_modules(root), *root.glob("tests/**/*.py")]):
        where = path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        if path.name == "__init__.py" and text:
            yield f"{where}: must be empty"
        if path.stem in ("utils", "helpers"):
            yield f"{where}: the name must say the subject"
        if (lines := text.count("\n")) > MAX_LINES:
            yield f"{where}: has {lines} lines, more than {MAX_LINES}"


def find_safety_faults(root: Path) -> Iterator[str]:
    for path, module in _modules(root).items():
        where = path.relative_to(root)
        for line, imported in _imports(path, root):
            package = imported.partition(".")[0]
            if package in UNSAFE_MODULES or (
                package == "ray" and module != RAY_WORKERS
            ):
                yield f"{where}:{line}: {module} imports {imported}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Call):
                for fault in _call_faults(node):
                    yield f"{where}:{node.lineno}: {module} {fault}"


def _call_faults(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    if any(f".{name}".endswith(f".{unsafe}") for unsafe in UNSAFE_CALLS):
        yield f"calls {name}"
    given = {each.arg: ast.unparse(each.value) for each in call.keywords}
    for keyword, value in SAFE_KEYWORDS.items():
        if given.get(keyword, value) != value:
            yield f"calls {name} with {keyword}={given[keyword]}"
    if (needed := NEEDED_KEYWORDS.get(name)) and needed not in given:
        yield f"calls {name} without {needed}"


def _modules(root: Path) -> dict[Path, str]:
    """Returns the modules' dotted names by path, without those of the tests."""
    packages = {name.partition(".")[0] for name in LAYERS}
    paths = [path for name in sorted(packages) for path in root.glob(f"{name}/**/*.py")]
    return {path: _module_name(path, root) for path in sorted(paths)}


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _unit(module: str) -> str | None:
    """Returns the key of LAYERS that the module belongs to; None if it is not ours."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in LAYERS), None)


def _is_tensorflow_free(module: str) -> bool:
    return any(fnmatch.fnmatchcase(module, pattern) for pattern in TENSORFLOW_FREE)


def _imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of everything that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level else ()
            source = ".".join([*package, *([node.module] if node.module else [])])
            is_module = root.joinpath(*source.split(".")).with_suffix(".py").is_file()
            for alias in node.names:
                yield node.lineno, source if is_module else f"{source}.{alias.name}"


RULES = [
    find_layer_faults,
    find_tensorflow_faults,
    find_flag_faults,
    find_file_faults,
    find_safety_faults,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_code_keeps_the_rule(rule: Callable[[Path], Iterator[str]]) -> None:
    assert list(rule(ROOT)) == []


@pytest.mark.parametrize(
    ("rule", "file", "text", "fault"),
    [
        (
            find_layer_faults,
            "mobilenas_tf/spec.py",
            "import os\nimport mobilenas_tf.zoo",
            "mobilenas_tf/spec.py:2: mobilenas_tf.spec (layer 0) imports "
            "mobilenas_tf.zoo (layer 1)",
        ),
        (
            find_layer_faults,
            "mobilenas_tf/layers/gates.py",
            "def f():\n    from mobilenas_tf.models.compact import build_network",
            "mobilenas_tf/layers/gates.py:2: mobilenas_tf.layers (layer 3) imports "
            "mobilenas_tf.models.compact.build_network (layer 4)",
        ),
        (
            find_layer_faults,
            "mobilenas_tf/costs/ops.py",
            "from ..layers import gates",
            "mobilenas_tf/costs/ops.py:1: mobilenas_tf.costs (layer 2) imports "
            "mobilenas_tf.layers.gates (layer 3)",
        ),
        (
            find_layer_faults,
            "export/benchmark/host.py",
            "from mobilenas_tf import search",
            "export/benchmark/host.py:1: export (layer 6) imports "
            "mobilenas_tf.search (layer 6)",
        ),
        (
            find_layer_faults,
            "mobilenas_tf/extra.py",
            "",
            "mobilenas_tf/extra.py: mobilenas_tf.extra has no layer in LAYERS",
        ),
        (
            find_tensorflow_faults,
            "export/config.py",
            "def f():\n    from tensorflow import lite",
            "export/config.py:2: export.config must be free of TensorFlow and imports "
            "tensorflow.lite",
        ),
        (
            find_tensorflow_faults,
            "mobilenas_tf/reporting/row.py",
            "import mobilenas_tf.training.trainer",
            "mobilenas_tf/reporting/row.py:1: mobilenas_tf.reporting.row must be free "
            "of TensorFlow and imports mobilenas_tf.training.trainer",
        ),
        (
            find_flag_faults,
            "detection/trainer.py",
            "from absl import flags",
            "detection/trainer.py:1: detection.trainer imports absl.flags",
        ),
        (
            find_flag_faults,
            "detection/trainer.py",
            "import absl.flags as f",
            "detection/trainer.py:1: detection.trainer imports absl.flags",
        ),
        *(
            (
                find_safety_faults,
                "export/bundle.py",
                text,
                f"export/bundle.py:1: export.bundle {fault}",
            )
            for text, fault in (
                ("import pickle", "imports pickle"),
                ("from joblib import load", "imports joblib.load"),
                ("import ray", "imports ray"),
                ("np.load(path)", "calls np.load without allow_pickle"),
                (
                    "np.load(path, allow_pickle=True)",
                    "calls np.load with allow_pickle=True",
                ),
                ("torch.load(path)", "calls torch.load"),
                ("keras.saving.load_model(path)", "calls keras.saving.load_model"),
                ("eval(text)", "calls eval"),
                ("os.system(f'rm {name}')", "calls os.system"),
                ("os.popen(name)", "calls os.popen"),
                (
                    "subprocess.run(f'adb {name}', shell=True)",
                    "calls subprocess.run with shell=True",
                ),
                ("subprocess.getoutput(name)", "calls subprocess.getoutput"),
                ("archive.extractall(folder)", "calls archive.extractall"),
            )
        ),
        (
            find_file_faults,
            "export/__init__.py",
            "import os",
            "export/__init__.py: must be empty",
        ),
        (
            find_file_faults,
            "tests/helpers.py",
            "",
            "tests/helpers.py: the name must say the subject",
        ),
        (
            find_file_faults,
            "tools/demo.py",
            "\n" * 501,
            "tools/demo.py: has 501 lines, more than 500",
        ),
    ],
)
def test_a_fault_is_found(
    tmp_path: Path,
    rule: Callable[[Path], Iterator[str]],
    file: str,
    text: str,
    fault: str,
) -> None:
    _write(tmp_path / file, text)
    assert list(rule(tmp_path)) == [fault]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mobilenas_tf/space.py", "from mobilenas_tf.spec import Architecture"),
        ("mobilenas_tf/costs/ops.py", "from mobilenas_tf.costs import network"),
        ("mobilenas_tf/models/compact.py", "import keras"),
        ("mobilenas_tf/training/config.py", "from mobilenas_tf.zoo import NETWORKS"),
        ("mobilenas_tf/training/loop.py", "from absl import logging"),
        ("tools/demo.py", "from absl import flags\nfrom export.tflite import export"),
        ("benchmarks/speed.py", "import tools.demo"),
        ("mobilenas_tf/search/ray_workers.py", "import ray"),
        ("export/parity.py", "np.load(path, allow_pickle=False)"),
        ("export/benchmark/adb.py", "subprocess.run(['adb', name], shell=False)"),
        ("export/__init__.py", ""),
    ],
)
def test_what_the_rules_allow_is_no_fault(tmp_path: Path, file: str, text: str) -> None:
    for module in ("spec", "zoo"):
        _write(tmp_path / "mobilenas_tf" / f"{module}.py", "")
    _write(tmp_path / file, text)
    assert [fault for rule in RULES for fault in rule(tmp_path)] == []


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
