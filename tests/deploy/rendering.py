"""What an overlay becomes: rendered by kustomize as it is in kubectl, which comes as a wheel.

Guarantees: the same objects that `kubectl apply -k` would send. Does not know: what is right in them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS_FOLDER = ROOT / "deploy" / "k8s" / "overlays"
OVERLAYS = tuple(sorted(path.parent.name for path in OVERLAYS_FOLDER.glob("*/kustomization.yaml")))
WORKLOADS = ("Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """`pod` is the spec that it stands in; `init`: it ends before the others begin."""

    workload: Object
    pod: Object
    spec: Object
    init: bool

    @property
    def title(self) -> str:
        return f"{title(self.workload)} container {self.spec['name']}"


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """Everything that this overlay applies."""
    return render(OVERLAYS_FOLDER / overlay)


@cache
def render(folder: Path) -> tuple[Object, ...]:
    """Raises CalledProcessError."""
    kubectl = Path(sys.executable).with_name("kubectl")
    text = subprocess.run(
        [str(kubectl), "kustomize", str(folder)], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    return tuple(found for found in yaml.safe_load_all(text) if found)


def of_kind(objects: tuple[Object, ...], *kinds: str) -> Iterator[Object]:
    return (found for found in objects if found["kind"] in kinds)


def named(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    return next(found for found in of_kind(objects, kind) if found["metadata"]["name"] == name)


def title(found: Object) -> str:
    return f"{found['kind']} {found['metadata']['name']}"


def pod_of(workload: Object) -> Object:
    """The pod template's spec."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def containers(objects: tuple[Object, ...]) -> Iterator[Container]:
    for workload in of_kind(objects, *WORKLOADS):
        pod = pod_of(workload)
        for spec in pod.get("initContainers", ()):
            yield Container(workload, pod, spec, init=True)
        for spec in pod["containers"]:
            yield Container(workload, pod, spec, init=False)
