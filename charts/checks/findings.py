"""Compares what kube-score and checkov found with what is meant to be so (exceptions.toml).

    python3 findings.py FOLDER      with kube-score.json and checkov.json

Ends with 1 for a finding without an exception, and for an exception that nothing needs any more.
"""

import json
import pathlib
import sys
import tomllib

CHECKS = pathlib.Path(__file__).parent


def of_kube_score(report):
    """(tool, check, object) and what it says."""
    for found in report:
        name = f"{found['type_meta']['kind']}/{found['object_meta']['name']}"
        for check in found["checks"]:
            if not check["skipped"] and check["grade"] < 10:
                says = "; ".join(comment["summary"] for comment in check["comments"])
                yield ("kube-score", check["check"]["id"], name), says


def of_checkov(report):
    """(tool, check, object) and what it says. Its names are Kind.namespace.name, with more behind for pods of others."""
    for found in report["results"]["failed_checks"]:
        kind, _, name = found["resource"].split(".")[:3]
        yield ("checkov", found["check_id"], f"{kind}/{name}"), found["check_name"]


def main(folder):
    """Prints what is amiss."""
    folder = pathlib.Path(folder)
    found = dict(of_kube_score(json.loads((folder / "kube-score.json").read_text())))
    found |= of_checkov(json.loads((folder / "checkov.json").read_text()))
    exceptions = tomllib.loads((CHECKS / "exceptions.toml").read_text())["exception"]
    meant = {(e["tool"], e["check"], name) for e in exceptions for name in e["objects"]}
    for key in sorted(found.keys() - meant):
        print(*key, found[key], sep=": ")
    for key in sorted(meant - found.keys()):
        print("nothing needs this exception any more", *key, sep=": ")
    print(f"kube-score and checkov: {len(found)} findings, {len(meant)} meant (charts/checks/exceptions.toml)")
    return found.keys() != meant


sys.exit(main(sys.argv[1]))
