"""deploy/helm/tidings, made from the manifests of deploy/k8s: `python -m tools.make.chart write` or `check`.

The chart is thin: the objects of the base with the edge, where what differs from one cluster to the next (image, sizes,
environment) is a value. So there is one source, and two ways to apply it.

Guarantees: `check` fails when the chart is not what the manifests are. Does not know: Helm; its templates use only
values, files, `if`, `toJson`, `quote`, `tpl` and `sha256sum`, which a test evaluates by itself.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "deploy" / "helm" / "source"
CHART = ROOT / "deploy" / "helm" / "tidings"
KINDS = ("access", "logic", "storage")
EDGE = "edge"
NOTE = "# Made from deploy/k8s by `make docs`; do not edit it here.\n"
MARK = re.compile(r"'?@@(.+?)@@'?")
HASHED = re.compile(r"\b(tidings-(?:settings|environment|edge))-[a-z0-9]{10}\b")
FILES = {"tidings-settings": "settings.toml", "tidings-edge": "nginx.conf"}
HOOKS = {"helm.sh/hook": "post-install,pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation"}

Object = dict[str, Any]


def manifests() -> list[Object]:
    """What the chart is made of, as kustomize renders it."""
    kubectl = Path(sys.executable).with_name("kubectl")
    outcome = subprocess.run([str(kubectl), "kustomize", str(SOURCE)], check=True, capture_output=True, timeout=120)
    # kustomize names a ConfigMap by its content; Helm's way to the same end is a checksum in the pods (_templated).
    text = HASHED.sub(r"\1", outcome.stdout.decode())
    return [found for found in yaml.safe_load_all(text) if found]


def chart() -> dict[str, str]:
    """Every file of the chart by its path."""
    objects = manifests()
    files = {FILES[found["metadata"]["name"]]: found["data"] for found in objects if _file_of(found)}
    texts = {name: _anywhere(data[name]) if name == "nginx.conf" else data[name] for name, data in files.items()}
    values = yaml.safe_dump(_values(objects), sort_keys=False, width=110)
    templates = {f"templates/{name}.yaml": text for name, text in _templates(objects)}
    return {"Chart.yaml": NOTE + _chart_file(), "values.yaml": NOTE + VALUES_HEAD + values, **texts, **templates}


VALUES_HEAD = """\
# environment: whatever docs/configuration.md has, with TIDINGS_ in front and in capitals; EDGE_HOST is the host that
# clients find the edge at. Secrets that must be there: tidings-token (secret), tidings-operator (token),
# tidings-mongodb (uri), tidings-edge-tls; see docs/operations.md.
"""


def _chart_file() -> str:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    described = {
        "apiVersion": "v2",
        "name": "tidings",
        "description": "An instant-messaging cluster: access, logic and storage nodes",
        "type": "application",
        "version": version[1],
        "appVersion": version[1],
        "kubeVersion": ">=1.30.0-0",
    }
    return yaml.safe_dump(described, sort_keys=False)


def _values(objects: list[Object]) -> Object:
    workloads = {
        found["metadata"]["name"]: found for found in objects if found["kind"] in ("StatefulSet", "Deployment")
    }
    name, _, tag = _container(workloads["access"])["image"].rpartition(":")
    environment = next(found["data"] for found in objects if found["metadata"]["name"] == "tidings-environment")
    return {
        "image": {"repository": name, "tag": tag},
        "replicas": {kind: workloads[kind]["spec"]["replicas"] for kind in (*KINDS, EDGE)},
        "resources": {kind: _container(workloads[kind])["resources"] for kind in (*KINDS, EDGE)},
        "environment": environment,
        "edge": {"enabled": True, "image": _container(workloads[EDGE])["image"], "annotations": {}},
    }


def _templates(objects: list[Object]) -> Iterator[tuple[str, str]]:
    """One file for each kind of node, one for the edge, one for the rest."""
    parts: dict[str, list[str]] = {}
    for found in objects:
        labels = found["metadata"].get("labels", {})
        ours = found["metadata"]["name"].removeprefix("tidings-") == EDGE
        name = labels.get("app.kubernetes.io/component", EDGE if ours else "")
        text = yaml.safe_dump(_templated(found), sort_keys=False, width=110)
        parts.setdefault(name or "cluster", []).append(MARK.sub(lambda mark: f"{{{{ {mark[1]} }}}}", text))
    for name, texts in parts.items():
        body = "---\n".join(texts)
        yield name, NOTE + (f"{{{{- if .Values.edge.enabled }}}}\n{body}{{{{- end }}}}\n" if name == EDGE else body)


def _templated(found: Object) -> Object:
    made, name = copy.deepcopy(found), found["metadata"]["name"]
    if file := _file_of(found):
        content = f'.Files.Get "{file}"'
        made["data"] = {file: f"@@{f'tpl ({content}) .' if file == 'nginx.conf' else content} | toJson@@"}
    elif name == "tidings-environment":
        made["data"] = "@@.Values.environment | toJson@@"
    elif found["kind"] == "Service" and name == EDGE:
        made["metadata"]["annotations"] = "@@.Values.edge.annotations | toJson@@"
    elif found["kind"] in ("StatefulSet", "Deployment"):
        made["spec"]["replicas"] = f"@@.Values.replicas.{name}@@"
        _container(made)["resources"] = f"@@.Values.resources.{name} | toJson@@"
        annotations = made["spec"]["template"]["metadata"].setdefault("annotations", {})
        annotations["checksum/environment"] = "@@.Values.environment | toJson | sha256sum@@"
    if found["kind"] == "Job":
        made["metadata"]["annotations"] = {**made["metadata"].get("annotations", {}), **HOOKS}
    for container in made.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        ours = '@@printf "%s:%v" .Values.image.repository .Values.image.tag | quote@@'
        container["image"] = "@@.Values.edge.image | quote@@" if container["name"] == EDGE else ours
    return made


def _file_of(found: Mapping[str, Any]) -> str:
    return FILES.get(found["metadata"]["name"], "") if found["kind"] == "ConfigMap" else ""


def _container(workload: Mapping[str, Any]) -> Object:
    first: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return first


def _anywhere(configuration: str) -> str:
    """In whichever namespace it is installed."""
    return configuration.replace(".tidings.svc.", ".{{ .Release.Namespace }}.svc.")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write"]:
            for name, text in chart().items():
                (CHART / name).parent.mkdir(parents=True, exist_ok=True)
                (CHART / name).write_text(text, encoding="utf-8")
            return 0
        case ["check"]:
            stale = sorted(_stale())
            for name in stale:
                sys.stderr.write(f"deploy/helm/tidings/{name} is not what deploy/k8s says; run `make docs`\n")
            return 1 if stale else 0
        case _:
            sys.stderr.write("usage: python -m tools.make.chart write|check\n")
            return 2


def _stale() -> Iterator[str]:
    wanted = chart()
    there = {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()}
    yield from there - set(wanted)
    for name, text in wanted.items():
        if name not in there or (CHART / name).read_text(encoding="utf-8") != text:
            yield name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
