"""Tidings on a Kubernetes cluster, as its tests see it: how it is laid out, how one gets in, when it is healthy.

Guarantees: changes only its own namespace, and the label of one machine. Does not know: clients, verdicts.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import yaml

from tests.k8s.place.images import RECIPES
from tests.k8s.place.kube import Kube
from tests.support.network.certificates import Authority

ROOT = Path(__file__).resolve().parents[3]
OVERLAY = ROOT / "deploy" / "k8s" / "overlays" / "lab"
BACKENDS_LABEL = "tidings.example.com/backends"
WS_PORT, TCP_PORT = 30080, 30090
READY_S = 600.0
MACHINES_MIN, MACHINES_S = 2, 120.0
HEALTHY_S = 300.0
AUDIENCE = "tidings"
SECRETS = frozenset({"tidings-token", "tidings-operator", "tidings-mongodb", "tidings-rpc-tls"})
KINDS = {"access": "statefulset", "logic": "deployment", "storage": "deployment"}
OTHERS = {"edge": "deployment", "etcd": "statefulset", "kafka": "statefulset", "mongodb": "statefulset"}


@dataclass(slots=True)
class Site:
    """`via`: how a command is run where clients can reach the edge; `edge`: an address of the cluster for them.

    `image`: of Tidings; `test_images`: whether the backends are those of tests.k8s.place.images, or the official ones.
    """

    kube: Kube
    folder: Path
    image: str
    test_images: bool
    edge: str = ""
    via: Sequence[str] = ()
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    audience = AUDIENCE

    # ---- the place where clients go

    def ws_urls(self) -> list[str]:
        return [f"ws://{self.edge}:{WS_PORT}/v1/ws"]

    def tcp_urls(self) -> list[str]:
        return [f"tcp://{self.edge}:{TCP_PORT}"]

    @property
    def route_url(self) -> str:
        return f"http://{self.edge}:{WS_PORT}/v1/route"

    def token(self, user: str) -> str:
        claims = {"sub": user, "aud": self.audience, "exp": int(time.time() + 86_400)}
        return jwt.encode(claims, self.secret, "HS256")

    # ---- its coming and going

    async def install(self) -> None:
        """Everything, from nothing; returns when it is healthy."""
        await self.kube.until(self._enough_machines, MACHINES_S)
        home = (await self._machines())[0]
        await self.kube.run("label", "--overwrite", "node", home["metadata"]["name"], f"{BACKENDS_LABEL}=yes")
        self.edge = self.edge or _address_of(home)
        await self.kube.run("apply", "--server-side", "--filename", str(OVERLAY / "namespace.yaml"))
        await self._apply_secrets()
        await self.apply()
        await self.kube.until(self._jobs_done, READY_S)
        await self.until_healthy(READY_S)

    async def find(self) -> None:
        """One that was installed before and kept; returns when it is healthy. Raises KubeFailed if there is none."""
        token = await self.kube.get("secret", "tidings-token")
        self.secret = base64.b64decode(token["data"]["secret"]).decode()
        access = await self.kube.get("nodes", f"--selector={BACKENDS_LABEL}=yes")
        self.edge = self.edge or _address_of(access["items"][0])
        await self.until_healthy()

    async def apply(self) -> None:
        """The overlay, with this site's images and address."""
        for job in ("prepare", "mongodb-replica-set"):
            await self.kube.run("delete", "job", job, "--ignore-not-found", "--wait=true")
        await self.kube.run("apply", "--server-side", "--force-conflicts", "--kustomize", str(self._kustomization()))

    async def remove(self) -> None:
        await self.kube.run("delete", "namespace", self.kube.namespace, "--ignore-not-found", "--wait=true")

    def _kustomization(self) -> Path:
        name, _, tag = self.image.rpartition(":")
        images = [{"name": "tidings", "newName": name, "newTag": tag}]
        if self.test_images:
            for recipe in RECIPES.values():
                new, _, version = recipe.tag.rpartition(":")
                images.append({"name": recipe.replaces, "newName": new, "newTag": version})
        address = {"name": "tidings-environment", "behavior": "merge", "literals": [f"EDGE_HOST={self.edge}"]}
        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.kube.namespace,
            "resources": [f"{'../' * len(self.folder.relative_to(ROOT).parts)}deploy/k8s/overlays/lab"],
            "images": images,
            "configMapGenerator": [address],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
        return self.folder

    async def _apply_secrets(self) -> None:
        folder = self.folder / f"certificates-{int(time.time())}"
        authority = Authority(folder)
        pair = authority.issue("tidings-nodes")
        certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
        wanted: Mapping[str, Mapping[str, bytes]] = {
            "tidings-token": {"secret": self.secret.encode()},
            "tidings-operator": {"token": secrets.token_urlsafe(32).encode()},
            "tidings-mongodb": {"uri": b"mongodb://mongodb-0.mongodb:27017/?replicaSet=tidings"},
            "tidings-rpc-tls": {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.file.read_bytes()},
        }
        assert set(wanted) == SECRETS
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "data": {name: base64.b64encode(value).decode() for name, value in values.items()},
            }
            for name, values in wanted.items()
        ]
        await self.kube.run("apply", "--server-side", "--filename", "-", given=yaml.safe_dump_all(objects))

    # ---- what there is

    async def _machines(self) -> list[Any]:
        found = await self.kube.items("nodes")
        return sorted((node for node in found if _is_ready(node)), key=lambda node: node["metadata"]["name"])

    async def _enough_machines(self) -> str:
        ready = len(await self._machines())
        return "" if ready >= MACHINES_MIN else f"{ready} machines are ready, {MACHINES_MIN} are needed"

    async def machine_of(self, pod: str) -> str:
        return str((await self.kube.get("pod", pod))["spec"]["nodeName"])

    async def replicas(self, kind: str) -> int:
        return int((await self.kube.get(KINDS[kind], kind))["spec"]["replicas"])

    async def scale(self, kind: str, replicas: int) -> None:
        await self.kube.run("scale", KINDS[kind], kind, f"--replicas={replicas}")

    async def until_healthy(self, timeout_s: float = HEALTHY_S) -> float:
        """Everything that is wanted runs in its newest version and is ready; how long that took."""
        return await self.kube.until(self.unhealthy, timeout_s)

    async def unhealthy(self) -> str:
        """What is not as it should be."""
        found = await self.kube.items("statefulset,deployment")
        reasons = [reason for workload in found if (reason := _not_ready(workload))]
        if missing := {*KINDS, *OTHERS} - {workload["metadata"]["name"] for workload in found}:
            reasons.append(f"not there: {', '.join(sorted(missing))}")
        if reasons:
            return "; ".join(reasons)
        pods = await self.kube.items("pods", "--selector=app.kubernetes.io/part-of!=none")
        leaving = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
        return f"{', '.join(leaving)} still leaving" if leaving else ""

    async def _jobs_done(self) -> str:
        jobs = await self.kube.items("jobs")
        waiting = [job["metadata"]["name"] for job in jobs if not job["status"].get("succeeded")]
        return f"jobs {', '.join(waiting)} are not done" if waiting else ""


def _not_ready(workload: Any) -> str:
    spec, status = workload["spec"], workload["status"]
    wanted = spec["replicas"]
    seen = status.get("observedGeneration") == workload["metadata"]["generation"]
    ready, updated, there = (status.get(key, 0) for key in ("readyReplicas", "updatedReplicas", "replicas"))
    if seen and ready == updated == there == wanted:
        return ""
    return f"{workload['metadata']['name']}: {ready} of {wanted} ready, {updated} new, {there} there"


def _is_ready(node: Any) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


def _address_of(node: Any) -> str:
    addresses = node["status"]["addresses"]
    return str(next(each["address"] for each in addresses if each["type"] == "InternalIP"))
