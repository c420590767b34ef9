"""MediaPipe, imported without what its wheel lacks and what no export needs."""

from __future__ import annotations

import sys
import types

_NATIVE_PACKAGE = "mediapipe.tasks.cc.metadata.python"


def import_mediapipe() -> types.SimpleNamespace:
    """Returns the modules of MediaPipe that write metadata and that run files.

    They are `image_classifier`, `metadata`, `metadata_info`, `metadata_writer` and
    `object_detector` of the writers, `metadata_schema` and `detector_schema` of what
    they write, and `root`, which has the tasks and images.

    The writers import a native module that the wheel lacks (1.2.2), for one function;
    drawing imports OpenCV, which needs the libraries of a graphical desktop. While they
    are imported, stand-ins are in their places, unless OpenCV is there already.
    """
    native = types.ModuleType(_NATIVE_PACKAGE)
    vars(native)["_pywrap_metadata_version"] = types.SimpleNamespace(
        GetMinimumMetadataParserVersion=_minimum_parser_version
    )
    stand_ins = {
        name: module
        for name, module in (
            (_NATIVE_PACKAGE, native),
            ("cv2", types.ModuleType("cv2")),
        )
        if name not in sys.modules
    }
    sys.modules.update(stand_ins)
    try:
        import mediapipe
        from mediapipe.tasks.metadata import metadata_schema_py_generated
        from mediapipe.tasks.metadata import (
            object_detector_metadata_schema_py_generated as detector_schema,
        )
        from mediapipe.tasks.python.metadata import metadata
        from mediapipe.tasks.python.metadata.metadata_writers import (
            image_classifier,
            metadata_info,
            metadata_writer,
            object_detector,
        )
    finally:
        for name in stand_ins:
            del sys.modules[name]
    # Its temporary folder goes by itself; at the end of the process this only fails.
    writer = metadata_writer.MetadataWriter
    if "__del__" in vars(writer):
        del writer.__del__
    return types.SimpleNamespace(
        detector_schema=detector_schema,
        image_classifier=image_classifier,
        metadata=metadata,
        metadata_info=metadata_info,
        metadata_schema=metadata_schema_py_generated,
        metadata_writer=metadata_writer,
        object_detector=object_detector,
        root=mediapipe,
    )


def _minimum_parser_version(entry: bytes) -> str:
    """Returns the first version of the metadata's schema that has all that is used.

    Source: "History" in mediapipe/tasks/metadata/metadata_schema.fbs.
    """
    schema = import_mediapipe().metadata_schema
    graph = schema.ModelMetadata.GetRootAs(entry).SubgraphMetadata(0)
    if not graph.CustomMetadataIsNone():
        return "1.5.0"
    return "1.0.0" if graph.OutputTensorGroupsIsNone() else "1.2.0"
