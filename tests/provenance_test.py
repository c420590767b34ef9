from __future__ import annotations

import datetime
import json
import os
import platform
import re

import keras

from mobilenas_tf.provenance import cpu_model, describe_provenance


def test_provenance_says_what_ran_where_and_with_what() -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    provenance = describe_provenance(["search", "--seed=1"])
    assert datetime.datetime.fromisoformat(provenance["started"]) >= before
    assert provenance["command"] == ["search", "--seed=1"]
    assert provenance["versions"]["keras"] == keras.__version__
    assert provenance["versions"]["python"] == platform.python_version()
    assert provenance["num_cores"] == os.cpu_count()
    assert provenance["cpu_model"] == cpu_model() != ""


def test_revision_is_a_whole_git_hash_or_none() -> None:
    revision = describe_provenance([])["git_revision"]
    assert revision is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", revision)


def test_provenance_is_strict_json() -> None:
    json.dumps(describe_provenance(["x"]), allow_nan=False)
