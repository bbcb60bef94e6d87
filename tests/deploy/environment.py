"""What a container's process finds: its variables as the kubelet makes them, and its files, in a folder of a test.

Does not know: what a service does with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.rendering import Container, Object, named

MOUNTED = "/etc/tidings"
POD = {"status.podIP": "10.1.2.3", "metadata.namespace": "tidings"}
# What the secrets hold, where the content matters to who reads it.
SECRETS = {
    "tidings-token": {"secret": "kJ8s0mVqX2fT7hLrB4wZ9cYpN6dGaE3uQ1iOxKtWvS5"},
    "tidings-operator": {"token": "Zq4tB9nLxW7vRk2mCj8sHy5pUd3fGa6eTo1iXwKbVrN"},
    "tidings-mongodb": {"uri": "mongodb://tidings:pw@mongodb.example.com/?replicaSet=rs0&tls=true&authSource=admin"},
    "tidings-kafka": {"password": "Hx7cRkV2mT9wBq4nLs8jYd5pGf3aUe6zXo1iCtWb"},
}


def variables(container: Container, objects: tuple[Object, ...]) -> dict[str, str]:
    """In the kubelet's order: ConfigMaps first; `$(NAME)` means what stands before it."""
    workload = container.workload
    fields = {**POD, "metadata.name": f"{workload['metadata']['name']}-0"}
    found: dict[str, str] = {}
    for source in container.spec.get("envFrom", ()):
        found |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    own: dict[str, str] = {}
    for variable in container.spec.get("env", ()):
        own[variable["name"]] = _expanded(_value(variable, fields, objects), own)
    return {**found, **own}


def _value(variable: Mapping[str, Any], fields: Mapping[str, str], objects: tuple[Object, ...]) -> str:
    if "value" in variable:
        return str(variable["value"])
    match variable["valueFrom"]:
        case {"fieldRef": {"fieldPath": path}}:
            return "0" if "pod-index" in path else fields[path]
        case {"configMapKeyRef": {"name": name, "key": key}}:
            return str(named(objects, "ConfigMap", name)["data"][key])
        case {"secretKeyRef": {"name": name, "key": key}}:
            return SECRETS[name][key]
        case source:
            raise AssertionError(f"a source that this test does not know: {source}")


def _expanded(text: str, before: Mapping[str, str]) -> str:
    """A name that is not there stays as it is, which is what the kubelet does."""
    return re.sub(r"\$\((\w+)\)", lambda found: before.get(found[1], found[0]), text)


def lay_files(container: Container, objects: tuple[Object, ...], folder: Path) -> None:
    """What is mounted below /etc/tidings, below `folder`; paths in it are changed accordingly."""
    volumes = {volume["name"]: volume for volume in container.pod.get("volumes", ())}
    for mount in container.spec.get("volumeMounts", ()):
        if not mount["mountPath"].startswith(MOUNTED):
            continue
        target = folder / mount["mountPath"].removeprefix(MOUNTED).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        match volumes[mount["name"]]:
            case {"configMap": {"name": name}}:
                text = named(objects, "ConfigMap", name)["data"][mount["subPath"]]
                target.write_text(moved(text, folder), encoding="utf-8")
            case {"secret": {"secretName": name, "defaultMode": mode}}:
                target.mkdir(exist_ok=True)
                for key, text in SECRETS.get(name, {"tls.crt": "", "tls.key": "", "ca.crt": ""}).items():
                    (target / key).write_text(text, encoding="utf-8")
                    (target / key).chmod(mode)
            case volume:
                raise AssertionError(f"a volume that this test does not know: {volume}")


def moved(text: str, folder: Path) -> str:
    return text.replace(MOUNTED, str(folder))
