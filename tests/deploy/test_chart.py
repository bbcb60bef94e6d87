"""The Helm chart is the manifests of deploy/k8s: made from them, and the same objects when it is rendered."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import Any

import pytest
import yaml

from tools import chart

OURS = re.compile(r"{{-? *(.+?) *-?}}")


def test_the_chart_was_made_from_the_manifests_of_today() -> None:
    assert chart.main(["check"]) == 0


def test_its_objects_are_those_of_the_manifests() -> None:
    assert _by_title(_rendered({})) == _by_title(chart.manifests())


def test_a_value_reaches_its_object() -> None:
    objects = _by_title(_rendered({"replicas": {"access": 7}, "image": {"tag": "2.0"}}))
    assert objects["StatefulSet access"]["spec"]["replicas"] == 7
    container = objects["Deployment logic"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "tidings:2.0"


def test_without_the_edge_there_is_none() -> None:
    objects = _by_title(_rendered({"edge": {"enabled": False}}))
    assert not [title for title in objects if title.endswith("edge")]
    assert "StatefulSet access" in objects


def test_a_changed_environment_changes_the_pods() -> None:
    def checksum(given: dict[str, Any]) -> str:
        pods = next(found for found in _rendered(given) if found["kind"] == "StatefulSet")["spec"]["template"]
        return str(pods["metadata"]["annotations"]["checksum/environment"])

    assert checksum({}) != checksum({"environment": {"TIDINGS_CLUSTER": "another"}})


# ---- a renderer of the few things that the chart uses; tests/k8s/lab.sh runs Helm's own where it is


def _rendered(given: dict[str, Any]) -> list[dict[str, Any]]:
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
    for name, value in given.items():
        values[name] = {**values[name], **value}
    objects = []
    for path in sorted((chart.CHART / "templates").glob("*.yaml")):
        text = _without_what_is_off(path.read_text(encoding="utf-8"), values)
        objects += [found for found in yaml.safe_load_all(_filled(text, values)) if found]
    return objects


def _without_what_is_off(text: str, values: dict[str, Any]) -> str:
    found = re.search(r"{{- if \.(\S+) }}\n(.*){{- end }}\n", text, re.DOTALL)
    if found is None:
        return text
    return text.replace(found[0], found[2] if _looked_up(found[1], values) else "")


def _filled(text: str, values: dict[str, Any]) -> str:
    return OURS.sub(lambda found: _evaluated(found[1], values), text)


def _evaluated(expression: str, values: dict[str, Any]) -> str:
    first, *functions = (part.strip() for part in expression.split("|"))
    value: Any
    if file := re.fullmatch(r"(tpl )?\(?\.Files\.Get \"(.+)\"\)?(?: \.)?", first):
        value = (chart.CHART / file[2]).read_text(encoding="utf-8")
        value = _filled(value, values) if file[1] else value
    elif first.startswith('printf "%s:%v" '):
        value = ":".join(str(_looked_up(name[1:], values)) for name in first.split()[2:])
    else:
        assert first.startswith("."), first
        value = _looked_up(first[1:], values)
    for function in functions:
        value = FUNCTIONS[function](value)
    return str(value)


FUNCTIONS = {
    "toJson": lambda value: json.dumps(value, sort_keys=True),
    "quote": lambda value: json.dumps(str(value)),
    "sha256sum": lambda value: hashlib.sha256(value.encode()).hexdigest(),
}


def _looked_up(name: str, values: dict[str, Any]) -> Any:
    found: Any = {"Values": values, "Release": {"Namespace": "tidings"}}
    for part in name.split("."):
        found = found[part]
    return found


def _by_title(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{found['kind']} {found['metadata']['name']}": _without_helms_own(found) for found in objects}


def _without_helms_own(found: dict[str, Any]) -> dict[str, Any]:
    """But for what only Helm needs: its hooks, and checksums in the place of the names that kustomize changes."""
    made = copy.deepcopy(found)
    for metadata in (made["metadata"], made.get("spec", {}).get("template", {}).get("metadata", {})):
        annotations = metadata.get("annotations", {})
        kept = {name: value for name, value in annotations.items() if not re.match(r"helm\.sh/|checksum/", name)}
        metadata.pop("annotations", None)
        if kept:
            metadata["annotations"] = kept
    return made


@pytest.mark.parametrize("expression", ["lookup", ".Capabilities.KubeVersion"])
def test_the_renderer_refuses_what_it_does_not_know(expression: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        _evaluated(expression, {})
