"""The documents, as rules that fail: what they show is run, and what they name exists."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from pydicom.uid import JPEGLSLossless

from cds_service import logs
from cds_service.bootstrap import web
from cds_service.cli import EXIT_BAD_ANSWER, EXIT_NOT_THERE, group, main
from cds_service.feedback import Tally
from cds_service.hooks.discovery import SERVICES, prefetch_templates
from cds_service.queue import Dispatcher, Priority, State
from cds_service.queue.shares import TenantLoad
from cds_service.scrapes import DisabledModels, FeedbackCounts, ShadowRuns, TenantLoads
from cds_service.settings import Settings, load
from cds_service.shadow import ModelName, Watched
from cds_service.web import web_metrics
from inference import gates
from inference.analysis import Outcome
from models.build.cli import build
from models.manifest import parse_manifest
from tests.reference.dicom_factory import axial_series, encoded, head, instance, transcoded

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README, OPERATE, CLI = ROOT / "README.md", ROOT / "docs" / "operate.md", ROOT / "docs" / "cli.md"
SAFETY, CONNECT = ROOT / "docs" / "safety.md", ROOT / "docs" / "connect-an-ehr.md"
PACKAGES = ("models", "inference", "fhir_mapping", "cds_service")

_FENCE = re.compile(
    r"(?:<!-- (?P<mark>[a-z]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)\n```", re.DOTALL
)
_SPAN = re.compile(r"`([^`\n]+)`")


def fenced(kind: str) -> list[Any]:
    """Each fenced block of a kind, as a test's parameter: (mark, text)."""
    return [
        pytest.param(block["mark"] or "", block["text"], id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(_FENCE.finditer(document.read_text()), start=1)
        if block["kind"] == kind
    ]


def spans(document: Path) -> list[str]:
    """What stands between backticks in running text and tables."""
    return _SPAN.findall(_FENCE.sub("", document.read_text()))


def every_span(pattern: str) -> list[Any]:
    """Each span of all documents that matches, once, as a test's parameter."""
    found = {span: document for document in DOCUMENTS for span in spans(document)}
    return [
        pytest.param(span, id=f"{document.name}-{span}")
        for span, document in sorted(found.items())
        if re.fullmatch(pattern, span)
    ]


# --- settings and manifests

BASE: Mapping[str, Any] = {
    "base_url": "https://ai.example.org",
    "site_secrets": ["0123456789-0123456789-0123456789"],
    "archives": [{"name": "pacs", "base_url": "https://pacs.example.org/dicom-web"}],
}

TENANT: Mapping[str, Any] = {
    "name": "north",
    "issuer": "https://ehr.example.org",
    "jwks_url": "https://ehr.example.org/jwks.json",
    "fhir_base": "https://ehr.example.org/fhir",
    "archive": "pacs",
}


@pytest.mark.parametrize(("mark", "text"), fenced("toml"))
def test_every_toml_block_is_accepted(mark: str, text: str, tmp_path: Path) -> None:
    if mark == "manifest":
        assert parse_manifest(text).labels
    elif "(complete)" in text:
        config = tmp_path / "scanhook.toml"
        config.write_text(text)
        assert load(config).tenants
    else:
        Settings(**{**BASE, **tomllib.loads(text)})


def test_an_invented_setting_in_a_document_would_be_noticed() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings(**{**BASE, **tomllib.loads("[hook]\nnever_there = 1")})


def _part(name: str) -> type[BaseModel]:
    """The model of a group of settings: ``hook``, or the items of ``tenants``."""
    annotation = Settings.model_fields[name].annotation
    item = getattr(annotation, "__args__", (annotation,))[0]
    assert isinstance(item, type)
    assert issubclass(item, BaseModel)
    return item


@pytest.mark.parametrize(
    "span", every_span(r"(hook|triggers|worker|web|archives|tenants)\.[a-z_]+(?: = \S+)?")
)
def test_every_setting_that_is_named_exists_and_takes_the_value(span: str) -> None:
    name, _, value = span.partition(" = ")
    part, field = name.split(".")
    assert field in _part(part).model_fields
    if value:
        given = {"environment": "development", **BASE, "tenants": [TENANT]}
        taken = tomllib.loads(f"{field} = {value}")
        several = given.get(part)
        given[part] = [{**several[0], **taken}] if several else taken
        Settings(**given)


# --- commands


def command_lines() -> Iterator[Any]:
    """Each ``scanhook ...`` that a document shows, in a shell block or between backticks."""
    for document in DOCUMENTS:
        text = document.read_text()
        shown = [
            line.split("#")[0].strip()
            for block in _FENCE.finditer(text)
            if block["kind"] == "sh"
            for line in block["text"].splitlines()
        ]
        for line in sorted({*shown, *spans(document)}):
            if line.startswith("scanhook ") and "..." not in line:
                yield pytest.param(line, id=f"{document.name}-{line}")


def misused(line: str) -> str:
    """What is wrong with a command line, as far as its words go; empty if nothing."""
    command: click.Command = group
    context = click.Context(group)
    words, arguments = line.split()[1:], 0
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts)}
            if word == "--help":
                continue
            if word not in options:
                return f"{command.name} has no option {word}"
            option = options[word]
            if isinstance(option, click.Option) and not option.is_flag:
                words = words[1:]
        elif isinstance(command, click.Group) and word != "COMMAND":
            found = command.get_command(context, word)
            if found is None:
                return f"{command.name} has no command {word}"
            command = build if word == "build" else found
        else:
            arguments += 1
    places = [p.nargs for p in command.params if isinstance(p, click.Argument)]
    if arguments > sum(places) and -1 not in places and "COMMAND" not in line:
        return f"{command.name} takes fewer arguments"
    return ""


@pytest.mark.parametrize("line", list(command_lines()))
def test_every_command_line_that_is_shown_exists(line: str) -> None:
    assert misused(line) == ""


@pytest.mark.parametrize(
    "line", ["scanhook fly", "scanhook demo --fly", "scanhook jobs requeue A B", "scanhook serve X"]
)
def test_a_command_line_that_does_not_exist_would_be_noticed(line: str) -> None:
    assert misused(line) != ""


def leaves(command: click.Command, name: str = "scanhook") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups too."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = build if child == "build" else command.get_command(context, child)
            assert found is not None
            yield from leaves(found, f"{name} {child}")


@pytest.mark.parametrize(("name", "command"), [pytest.param(*c, id=c[0]) for c in leaves(group)])
def test_the_page_of_commands_has_each_with_exactly_its_options(
    name: str, command: click.Command
) -> None:
    rows = re.findall(rf"^\| `{name}(?: [A-Za-z_-]+)?` \| ([^|]*)\|", CLI.read_text(), re.MULTILINE)
    own = [row for row in rows if row is not None]
    options = {
        option
        for p in command.params
        if isinstance(p, click.Option)
        for option in (*p.opts, *p.secondary_opts)
        if option != "--help"
    }
    assert options in [set(_SPAN.findall(row)) for row in own]


JPEG_LS_START = b"\xff\xd8\xff\xf7"


def exits() -> list[Any]:
    """The rows of the table that says which command ends with which code."""
    rows = re.findall(r"^\| `(scanhook [^`]+)` \| (\d) \|", CLI.read_text(), re.MULTILINE)
    return [pytest.param(line, int(code), id=line) for line, code in rows]


@pytest.mark.parametrize(("line", "code"), exits())
def test_each_example_ends_with_the_code_that_is_stated(
    line: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    write_study(tmp_path / "study")
    pixels = head(128, 128)
    whole = transcoded(instance(pixels), pixels, JPEGLSLossless)
    (tmp_path / "broken" / "0.dcm").write_bytes(whole.replace(JPEG_LS_START, bytes(4)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", line.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    said = capsys.readouterr()
    assert bool(said.err) or code in (0, EXIT_BAD_ANSWER)


def test_the_keys_of_an_analysis_are_those_that_are_stated(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    answered = CliRunner().invoke(group, ["analyse", str(tmp_path / "study"), "--json"])
    said = json.loads(answered.stdout)
    section = CLI.read_text().split("## analyse, as JSON")[1]
    assert set(said) == {"studies", "not_read"}
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(said["studies"][0])


def test_the_codes_are_those_of_the_program() -> None:
    stated = re.findall(r"^\| (\d) \| [a-z]", CLI.read_text(), re.MULTILINE)
    assert stated == ["0", str(EXIT_BAD_ANSWER), "2", str(EXIT_NOT_THERE)]


# --- Python


def write_study(folder: Path) -> None:
    """Three drawn slices of a head, large enough for the model that comes along."""
    folder.mkdir()
    series = axial_series(3, pixels=lambda index: head(128, 128, seed=index))
    for number, dataset in enumerate(series):
        (folder / f"{number}.dcm").write_bytes(encoded(dataset))


@pytest.mark.parametrize(("mark", "text"), fenced("python"))
def test_every_python_block_runs(
    mark: str,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_study(tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "document", "exec"), {})  # noqa: S102  our own document
    assert "brain-mri-tumour" in capsys.readouterr().out


# --- names


@pytest.mark.parametrize("span", every_span(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+"))
def test_every_dotted_name_exists(span: str) -> None:
    if (ROOT / span).is_file():
        return
    parts = span.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return
    pytest.fail(f"nothing has the name {span}")


@pytest.mark.parametrize(
    "span",
    every_span(
        r"(?:\.ci|docker|docs|tests|benchmarks|models|inference|fhir_mapping|cds_service)/[\w./-]+"
    ),
)
def test_every_file_that_is_named_exists(span: str) -> None:
    assert (ROOT / span).exists()


def links() -> Iterator[Any]:
    """Each link of a document that leads to another file."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if not target.startswith(("http://", "https://")):
                yield pytest.param(document, target, id=f"{document.name}-{target}")


@pytest.mark.parametrize(("document", "target"), list(links()))
def test_every_link_leads_somewhere(document: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = document.parent / path if path else document
    assert there.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]


def metric_labels() -> dict[str, list[str]]:
    """Every metric of a scrape of the web process, with its labels, after one event of each."""
    parts = SimpleNamespace(
        transport=SimpleNamespace(waiting=lambda: dict.fromkeys(Priority, 0)),
        records=SimpleNamespace(open_records=lambda **_: [], listed=lambda *_: []),
    )
    watched = Watched(ModelName("m", "1"), 1, 1, {"l": 1}, {"l": 1})
    scraped = [
        ShadowRuns(lambda: [watched], {watched.name: frozenset("l")}),
        FeedbackCounts(lambda: [Tally("m", "1", "accepted", "none", 1)], [watched.name]),
        DisabledModels(frozenset, [watched.name]),
        TenantLoads(lambda: [TenantLoad("t", 1, 1)]),
    ]
    metrics = web_metrics(Settings(**BASE), web._gauges(cast(Dispatcher, parts)), scraped)
    metrics.hook_answered("", "", 200, 0.1)
    metrics.token_refused("")
    metrics.card_answered("", "")
    metrics.notification_received("", "")
    found = {}
    for line in metrics.text().decode().splitlines():
        sample = re.fullmatch(r"(scanhook_\w+?)(_count)?(?:\{(.*)\})? \S+", line)
        if sample and not sample[1].endswith(("_created", "_bucket", "_sum")):
            found[sample[1]] = re.findall(r"(\w+)=", sample[3] or "")
    return found


def test_the_metrics_and_labels_that_are_named_are_those_there_are() -> None:
    stated = {}
    for line in OPERATE.read_text().splitlines():
        if line.startswith("| `scanhook_"):
            _, names, labels, _ = line.split("|")
            stated |= {name: _SPAN.findall(labels) for name in _SPAN.findall(names)}
    assert stated == metric_labels()


def test_the_fields_of_the_logs_are_those_there_are() -> None:
    section = OPERATE.read_text().split("## Logs")[1].split("## ")[0]
    listed = section.split("that apply:")[1].split("Anything else")[0]
    assert sorted(_SPAN.findall(listed)) == sorted(logs.FIELDS)


def test_the_lines_that_are_worth_an_alert_are_written_by_the_code() -> None:
    section = OPERATE.read_text().split("Worth an alert:")[1].split("## ")[0]
    sources = "".join(p.read_text() for p in (ROOT / "cds_service").rglob("*.py"))
    events = [" ".join(event.split()) for event in re.findall(r'"([^"]+)"', section)]
    assert events
    assert [event for event in events if f'"{event}"' not in sources] == []


def test_the_addresses_of_services_and_the_prefetch_are_stated() -> None:
    text = CONNECT.read_text()
    for service in SERVICES:
        assert f"/cds-services/{service}`" in text
    for key, template in prefetch_templates(5).items():
        assert f"| `{key}` | `{template}` |" in text


ROUTES = sorted(
    route
    for name in (
        *("hooks/routes.py", "viewer/routes.py", "triggers/routes.py", "smart/routes.py"),
        "ops/routes.py",
        *("health.py", "metrics.py", "web.py"),
    )
    for route in re.findall(r'"(/[^"\s]*)"', (ROOT / "cds_service" / name).read_text())
)


@pytest.mark.parametrize("span", every_span(r"/(?!studies$)[a-z][\w./-]*|/\.well-known/[\w.]+"))
def test_every_address_of_ours_has_a_route(span: str) -> None:
    start, end = span.removesuffix("..."), span
    assert [route for route in ROUTES if route.startswith(start) or route.endswith(end)]


def test_what_a_card_is_said_to_say_is_on_a_card() -> None:
    folder = ROOT / "tests" / "reference" / "cards"
    cards = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json")))
    said = SAFETY.read_text().split("## What is said")[1].split("In FHIR:")[0]
    phrases = [part.strip(" ,") for q in re.findall(r'"([^"]+)"', said) for part in q.split("...")]
    assert len(phrases) > 6
    assert [phrase for phrase in phrases if phrase not in cards] == []


def test_the_gates_are_those_there_are() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| `", SAFETY.read_text(), re.MULTILINE)
    folder = Path(gates.__file__).parent
    there = {p.stem.replace("_", "-") for p in folder.glob("*.py") if p.stem != "__init__"}
    assert set(rows) == there


def test_the_kinds_of_each_gate_are_written_by_the_code() -> None:
    sources = "".join(p.read_text() for p in (ROOT / "inference").rglob("*.py"))
    sources += (ROOT / "models" / "applicability.py").read_text()
    table = SAFETY.read_text().split("## Gates")[1].split("Thresholds are")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    kinds = [kind for row in rows for kind in _SPAN.findall(row[3])]
    assert kinds
    assert [kind for kind in kinds if f'"{kind}"' not in sources] == []


def test_states_and_outcomes_are_those_there_are() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text().split("## A study's states")[1]
    drawn = picture.split("```")[1]
    assert [state for state in State if state not in drawn] == []
    stated = set(spans(CLI))
    assert {str(outcome) for outcome in Outcome} <= stated


# --- the README


def tree() -> list[tuple[int, str]]:
    """The README's tree: depth and path of each line."""
    block = README.read_text().split("## The tree")[1].split("```")[1]
    found, above = [], ""
    for line in block.strip().splitlines():
        name = line.split()[0].rstrip("/")
        depth = (len(line) - len(line.lstrip())) // 2
        above = above if depth else name
        found.append((depth, f"{above}/{name}" if depth else name))
    return found


def on_disk() -> set[str]:
    """The folders of the project that are kept in its history."""
    other = ("build", "dist", "htmlcov", "artefacts", "node_modules")
    tops = [
        p
        for p in ROOT.iterdir()
        if p.is_dir() and p.name not in other and not p.name.startswith(".")
    ]
    tops = [p for p in tops if not p.name.endswith(".egg-info")]
    split = [p for p in tops if p.name in (*PACKAGES, "tests")]
    below = [p for top in split for p in top.iterdir() if p.is_dir() and p.name != "__pycache__"]
    return {p.relative_to(ROOT).as_posix() for p in (*tops, *below)}


def test_the_tree_of_the_readme_is_the_tree_on_the_disk() -> None:
    assert {path for _, path in tree()} == on_disk()


def percent(value: float) -> str:
    """As the README writes it."""
    return f"{value * 100:.1f} %"


def unsaid_in_readme(expected: list[str]) -> list[str]:
    """What the README does not say, wherever its lines end."""
    text = " ".join(README.read_text().split())
    return [words for words in expected if words not in text]


def test_the_figures_of_the_readme_are_those_of_the_report() -> None:
    report = json.loads((ROOT / "models" / "brain-mri-tumour" / "report.json").read_text())
    served = report["int8"] if report["precision"]["preferred"] == "int8" else report
    test, elsewhere = served["test"], served["ext_dev"]
    kept = test["abstaining"]
    pairs = (
        ("right without abstention", test["accuracy"]["value"], elsewhere["accuracy"]),
        ("share of slices answered", kept["coverage"], elsewhere["coverage_abstaining"]),
        ("right among the answers", kept["accuracy"], elsewhere["accuracy_abstaining"]),
        (
            'tumours called "no tumour"',
            kept["findings_called_negative"],
            elsewhere["called_negative_abstaining"],
        ),
    )
    rows = [f"| {name} | {percent(here)} | {percent(there)} |" for name, here, there in pairs]
    classes = ("glioma", "meningioma", "pituitary")
    by_class = {name: test["per_class"][name]["sensitivity"]["value"] for name in classes}
    sentence = ", ".join(f"{name} {percent(value)}" for name, value in by_class.items())
    text = README.read_text()
    expected = [
        *rows,
        f"Sensitivity without abstention: {sentence}.",
        f"measured on {test['images']} slices",
        f"on {elsewhere['images']} tumour slices from elsewhere",
    ]
    assert [line for line in expected if line not in text] == []


def test_what_the_readme_says_of_int8_and_of_the_witness_is_the_report_s() -> None:
    report = json.loads((ROOT / "models" / "brain-mri-tumour" / "report.json").read_text())
    int8, silent = report["precision"]["int8"], report["test"]["abstaining"]
    copied, free = report["data"]["near_copied"], report["test"]["per_class"]["no-tumour"]
    expected = [
        f"in {percent(int8['agreement'])} of the test slices",
        f"{int8['smaller']:.2f} times as small and {int8['speed_up']:.2f} times as fast",
        f"{copied['test']} of the {free['images']} tumour-free test slices have a near-copy",
        f"leaves it to {percent(silent['negative_answered_with_witness'])} of the tumour-free",
        f"instead of {percent(silent['negative_answered'])} (fp32)",
    ]
    assert unsaid_in_readme(expected) == []


def test_the_figures_of_the_other_models_are_those_of_their_reports() -> None:
    served = json.loads((ROOT / "models/chest-xray-pneumonia/report.json").read_text())["int8"]
    lungs = json.loads((ROOT / "models/chest-xray-lungs/report.json").read_text())["int8"]["test"]
    others = lungs["left_out"]
    outline = ROOT / "models/brain-mri-tumour-outline/report.json"
    tumours = json.loads(outline.read_text())["int8"]["test"]
    by_kind = {kind: each["dice"]["value"] for kind, each in tumours["per_class"].items()}
    test = served["test"]
    finding, kept = test["any_finding"], test["abstaining"]
    expected = [
        f"{test['images']} radiographs",
        f"{percent(test['accuracy']['value'])} right without abstention",
        f"sensitivity {percent(finding['sensitivity']['value'])}",
        f"specificity {percent(finding['specificity']['value'])}",
        f"It answers {percent(kept['coverage'])}",
        f"{percent(kept['accuracy'])} of these answers",
        f"called {percent(kept['findings_called_negative'])} free",
        f"lungs of {lungs['images']} people",
        f"Dice of {lungs['dice']['value']:.3f}",
        f"percentile {lungs['dice_5th_percentile']['value']:.3f}",
        f"On {others['images']} of them",
        f"{others['dice_of_others']:.3f} and {others['dice_5th_percentile_of_others']:.3f}",
        f"on {tumours['with_structure']} slices of other patients",
        f"Dice of {tumours['dice']['value']:.3f}",
        *(f"{kind} {dice:.3f}" for kind, dice in by_kind.items()),
        f"It misses {percent(tumours['missed']['value'])} of them",
        f"{percent(tumours['false_outlines']['value'])} of {tumours['without_structure']} slices",
    ]
    assert unsaid_in_readme(expected) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_no_document_names_a_machine_or_sells(document: Path) -> None:
    text = document.read_text()
    assert re.findall(r"/work/|/tmp/|/home/|img\.shields\.io|\[!\[", text) == []
    selling = r"\b(blazing|seamless\w*|powerful|cutting-edge|state-of-the-art|robust|easily)\b"
    assert re.findall(selling, text, re.IGNORECASE) == []


def test_the_speeds_in_the_readme_were_measured() -> None:
    """Each figure of the README's table stands on the page that the benchmarks wrote."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("How fast it is", 1)[1].split("How good the models are", 1)[0]
    measured = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    figures = [re.search(r"\d+(\.\d+)?", row[2]) for row in (_after_percentile(r) for r in rows)]
    assert len(figures) == 15
    for figure in figures:
        assert figure is not None
        assert re.search(rf"(?<![\d.]){re.escape(figure.group())}(?![\d.])", measured), figure


def _after_percentile(row: list[str]) -> list[str]:
    """A row whose figure does not begin with the 99 of "p99"."""
    return [cell.replace("p99", "") for cell in row]
