"""The script by which an Orthanc tells us that a study has been quiet for a while."""

from __future__ import annotations

_SCRIPT = """-- Tells scanhook of each study that got no new image for StableAge seconds.
-- In Orthanc's configuration: "LuaScripts": ["scanhook.lua"]. Keep this file secret (mode 600).
local url = {url}
local headers = {{["Authorization"] = {value}, ["Content-Type"] = "application/json"}}

function OnStableStudy(studyId, tags, metadata, origin)
  local study = {{
    StudyInstanceUID = tags["StudyInstanceUID"],
    version = metadata and metadata["LastUpdate"] or ""
  }}
  HttpPost(url, DumpJson(study, true), headers)
end"""


def stable_study_script(url: str, header: str) -> str:
    """The Lua script (Orthanc 1.5 or newer) for `url`, with the header that proves who sends."""
    value = header.partition(": ")[2]
    return _SCRIPT.format(url=_quoted(url), value=_quoted(value))


def _quoted(text: str) -> str:
    """A Lua string; what would end it has no place in a URL or a secret."""
    return '"' + "".join(c for c in text if c.isprintable() and c not in '"\\') + '"'
