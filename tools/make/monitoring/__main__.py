"""`write` makes deploy/grafana, deploy/prometheus/rules, the same rules for the Prometheus operator, docs/metrics.md;
`check` says which of them are not what the code says, `programs` fetches prometheus, promtool and amtool, `pictures`
draws the dashboards of a running cluster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.cli.failure import Failure

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "deploy" / "grafana" / "dashboards"
RULES = ROOT / "deploy" / "prometheus" / "rules"
RESOURCE = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "rules.yaml"
METRICS = ROOT / "docs" / "metrics.md"
PICTURES = ROOT / "docs" / "pictures"


def main(arguments: Sequence[str]) -> int:
    options = _parsed(arguments)
    try:
        match options.act:
            case "write":
                write(options.runbooks)
                return 0
            case "check":
                return _check()
            case "programs":
                from tools.make.monitoring import programs

                found = programs.fetch()
                sys.stderr.write(f"{found.prometheus}\n{found.promtool}\n{found.amtool}\n")
                return 0
            case _:
                from tools.make.monitoring.pictures import draw

                draw(Path(options.data), PICTURES, options.seconds)
                return 0
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1


def generated(runbooks: str | None = None) -> dict[Path, str]:
    """What the code says that the files hold."""
    from tools.make.monitoring import grafana, pages, rules
    from tools.make.monitoring.boards import BOARDS

    boards = {GRAFANA / name: text for name, text in grafana.files(BOARDS).items()}
    watched = {RULES / name: text for name, text in rules.files(runbooks or rules.RUNBOOKS).items()}
    resource = rules.custom_resource(runbooks or rules.RUNBOOKS)
    return boards | watched | {RESOURCE: resource, METRICS: pages.metrics_page()}


def write(runbooks: str | None = None) -> None:
    """What is there and not made any more goes."""
    made = generated(runbooks)
    for path in _there() - made.keys():
        path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def drift() -> list[str]:
    """The files that are missing, too many, or not what the code says; relative to the root."""
    made, there = generated(), _there()
    wrong = {path for path in made.keys() & there if path.read_text(encoding="utf-8") != made[path]}
    return sorted(str(path.relative_to(ROOT)) for path in wrong | (made.keys() ^ there))


def _there() -> set[Path]:
    return {path for path in (*GRAFANA.glob("*.json"), *RULES.glob("*.yaml"), RESOURCE, METRICS) if path.exists()}


def _check() -> int:
    stale = drift()
    for name in stale:
        sys.stderr.write(f"{name} is not what tools/make/monitoring says\n")
    if stale:
        sys.stderr.write("Run `make dashboards` and commit what it changes.\n")
    return 1 if stale else 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.make.monitoring", description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    write_act = acts.add_parser("write", help="make the files")
    write_act.add_argument("--runbooks", help="address that the runbooks are below, for the links of alerts")
    acts.add_parser("check", help="compare the files with the code")
    acts.add_parser("programs", help="fetch prometheus, promtool and amtool")
    pictures_act = acts.add_parser("pictures", help="draw the dashboards of a local cluster under load")
    pictures_act.add_argument("--data", default=".tidings", help="data folder of the cluster")
    pictures_act.add_argument("--seconds", type=float, default=120.0, help="how long to watch")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
