"""What DICOM asks of the objects that scanhook makes, in the format that dicom-validator keeps.

dicom-validator makes these tables from the standard's own text, which it fetches when it runs; a
test may fetch nothing. So they are made from what is installed: IODs, modules, attributes and
types from highdicom's extract of PS3.3, tags and names from pydicom's dictionary. Neither knows
values or conditions; below is what is added of those, with the clause, for these objects alone.
Of the other conditions (types 1C and 2C) nothing is known here, and nothing is judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from highdicom import _standard_utils as standard
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

Node: TypeAlias = dict[str, Any]  # by tag: {"name", "type", "items", "enums", "cond"}

EDITION = "2025e"  # names the folder, and must look like an edition; highdicom says not which
OBJECTS = (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# Tables A.51-2 and A.75-2: the macros that are mandatory for every such object
MANDATORY_GROUPS = {
    "segmentation-multi-frame-functional-groups": {
        "FrameContentSequence",
        "SegmentIdentificationSequence",
    },
    "parametric-map-multi-frame-functional-groups": {
        "FrameContentSequence",
        "ParametricMapFrameTypeSequence",
        "RealWorldValueMappingSequence",
    },
}

YES_NO = ("YES", "NO")
# Enumerated Values of PS3.3, by module and keyword
ENUMERATED: dict[str, dict[str, Sequence[str | int]]] = {
    "patient": {"PatientSex": ("M", "F", "O")},
    "general-image": {
        "BurnedInAnnotation": YES_NO,
        "RecognizableVisualFeatures": YES_NO,
        "LossyImageCompression": ("00", "01"),
        "PresentationLUTShape": ("IDENTITY", "INVERSE"),
    },
    "general-series": {"Laterality": ("R", "L")},
    "image-pixel": {"PixelRepresentation": (0, 1), "PlanarConfiguration": (0, 1)},
    "sop-common": {
        "SyntheticData": YES_NO,
        "SOPInstanceStatus": ("NS", "OR", "AO", "AC"),
        "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
    },
    "segmentation-series": {"Modality": ("SEG",)},
    "segmentation-image": {
        "SamplesPerPixel": (1,),
        "PhotometricInterpretation": ("MONOCHROME2", "PALETTE COLOR"),
        "PixelRepresentation": (0,),
        "SegmentationType": ("BINARY", "FRACTIONAL", "LABELMAP"),
        "SegmentsOverlap": ("YES", "UNDEFINED", "NO"),
        "SegmentAlgorithmType": ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"),
        "LossyImageCompression": ("00", "01"),
    },
    "parametric-map-image": {
        "SamplesPerPixel": (1,),
        "PhotometricInterpretation": ("MONOCHROME2",),
        "BurnedInAnnotation": YES_NO,
        "ContentQualification": ("PRODUCT", "RESEARCH", "SERVICE"),
        "LossyImageCompression": ("00", "01"),
    },
    "multi-frame-dimension": {
        "DimensionOrganizationType": ("3D", "3D_TEMPORAL", "TILED_FULL", "TILED_SPARSE"),
    },
    "sr-document-series": {"Modality": ("SR",)},
    "sr-document-general": {
        "CompletionFlag": ("PARTIAL", "COMPLETE"),
        "VerificationFlag": ("UNVERIFIED", "VERIFIED"),
        "PreliminaryFlag": ("PRELIMINARY", "FINAL"),
    },
    "sr-document-content": {
        "ContinuityOfContent": ("SEPARATE", "CONTINUOUS"),
        "RelationshipType": (
            "CONTAINS", "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "HAS PROPERTIES",
            "INFERRED FROM", "SELECTED FROM",
        ),
        "ValueType": (
            "CODE", "COMPOSITE", "CONTAINER", "DATE", "DATETIME", "IMAGE", "NUM", "PNAME", "SCOORD",
            "SCOORD3D", "TABLE", "TCOORD", "TEXT", "TIME", "UIDREF", "WAVEFORM",
        ),
        "GraphicType": (
            "POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "CIRCLE", "ELLIPSE", "ELLIPSOID",
        ),
    },
}  # fmt: skip

# PS3.3 C.17.3 and C.18: what a content item holds goes by its Value Type, and by nothing else
BY_VALUE_TYPE: dict[str, Sequence[str]] = {
    "ConceptCodeSequence": ("CODE",),
    "ContinuityOfContent": ("CONTAINER",),
    "Date": ("DATE",),
    "DateTime": ("DATETIME",),
    "GraphicData": ("SCOORD", "SCOORD3D"),
    "GraphicType": ("SCOORD", "SCOORD3D"),
    "MeasuredValueSequence": ("NUM",),
    "PersonName": ("PNAME",),
    "ReferencedFrameOfReferenceUID": ("SCOORD3D",),
    "ReferencedSOPSequence": ("IMAGE", "COMPOSITE", "WAVEFORM"),
    "TabulatedValuesSequence": ("TABLE",),
    "TemporalRangeType": ("TCOORD",),
    "TextValue": ("TEXT",),
    "Time": ("TIME",),
    "UID": ("UIDREF",),
}
CONTENT, CONTENT_ITEM = "sr-document-content", "content item"


def write_tables(folder: Path, version: str) -> None:
    """Lay the tables out as the store of one edition that dicom-validator `version` has made."""
    edition = folder / EDITION
    (edition / "docbook").mkdir(parents=True)
    for part in (3, 4, 6):  # it asks whether these are there, and then reads its tables alone
        (edition / "docbook" / f"part{part:02}.xml").touch()
    (edition / "json").mkdir()
    (edition / "json" / "version").write_text(version)
    (folder / "editions.json").write_text(json.dumps([EDITION]))
    for name, table in (
        ("dict_info", _dictionary()),
        ("iod_info", _iods()),
        ("module_info", _modules()),
        ("uid_info", {}),
    ):
        (edition / "json" / f"{name}.json").write_text(json.dumps(table))


def _dictionary() -> Node:
    """PS3.6 as pydicom has it, by tag."""
    return {
        _shown(tag): {"vr": vr, "vm": vm, "name": name, "prop": "RET" if retired else ""}
        for tag, (vr, vm, name, retired, _) in DicomDictionary.items()
    }


def _iods() -> Node:
    """The modules of each object, and the macros of its functional groups."""
    return {uid: _iod(name) for uid, name in _names().items()}


def _iod(name: str) -> Node:
    listed = {each["key"]: each["usage"] for each in standard.get_iod_module_map()[name]}
    macros: Node = {}
    for module in listed:
        for keyword in _macros_of(module):
            use = "M" if keyword in MANDATORY_GROUPS.get(module, ()) else "U"
            macros[keyword] = {"ref": f"{module}/{keyword}", "use": use}
    modules = {module: {"ref": module, "use": use} for module, use in listed.items()}
    return {"title": name, "modules": modules, "group_macros": macros}


def _modules() -> Node:
    """Each module and macro that one of the objects has, by the name `_iod` refers to it by."""
    found: Node = {}
    for name in _names().values():
        for each in standard.get_iod_module_map()[name]:
            module = each["key"]
            found[module] = _module(module)
            for keyword, macro in _macros_of(module).items():
                found[f"{module}/{keyword}"] = {_tag(keyword): macro}
    found[CONTENT_ITEM] = _content_item()
    return found


def _module(module: str) -> Node:
    nodes = _attributes(module)
    for keyword in GROUPS:
        if (group := nodes.get(_tag(keyword))) is not None:
            group["items"] = {"include": [{"ref": "FuncGroup"}]}
    if module == CONTENT:
        _as_content(nodes)
    return nodes


def _macros_of(module: str) -> Node:
    """Each macro of a module of functional groups, by the keyword of its sequence."""
    shared = _attributes(module).get(_tag(GROUPS[0]), {})
    return {node["keyword"]: node for node in shared.get("items", {}).values()}


def _content_item() -> Node:
    """What an item of the content tree holds, items of its own among it."""
    item: Node = _attributes(CONTENT)[_tag("ContentSequence")]["items"]
    _as_content(item)
    return item


def _as_content(item: Node) -> None:
    more = {"include": [{"ref": CONTENT_ITEM}]}
    item[_tag("ContentSequence")] = {"name": "ContentSequence", "type": "1C", "items": more}
    for keyword, value_types in BY_VALUE_TYPE.items():
        if (node := item.get(_tag(keyword))) is not None:
            condition = {"op": "=", "tag": _tag("ValueType"), "index": 0, "values": value_types}
            empty_allowed = node["type"].startswith("2")
            node["type"] = "2C" if empty_allowed else "1C"
            node["cond"] = {"type": "MN", **condition}


def _attributes(module: str) -> Node:
    """The attributes of a module as a tree; highdicom lists them with the path to each."""
    root: Node = {"items": {}}
    enumerated = ENUMERATED.get(module, {})
    for row in standard.get_module_attribute_map()[module]:
        keyword = row["keyword"]
        if tag_for_keyword(keyword) is None:  # of a repeating group: no object here has one
            continue
        parent = root
        for step in row["path"]:
            parent = parent["items"][_tag(step)]
        node = {"name": keyword, "keyword": keyword, "type": row["type"]}
        if keyword in enumerated:
            node["enums"] = [{"val": list(enumerated[keyword])}]
        parent.setdefault("items", {})[_tag(keyword)] = node
    found: Node = root["items"]
    return found


def _names() -> Mapping[str, str]:
    named = standard.get_sop_class_iod_map()
    return {str(uid): named[uid] for uid in OBJECTS}


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return _shown(tag)


def _shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
