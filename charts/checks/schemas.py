"""Writes JSON schemas for kubeconform: of Kubernetes from its swagger.json, of others from their CRDs.

    python3 schemas.py OUT (swagger.json | CRD.yaml)..

One file for each kind and version, kind-group-version.json. They are strict: fields that the API does not know are refused.
"""

import json
import pathlib
import sys

import yaml

# What the API takes though its swagger.json has them as strings alone.
LOOSE = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}
OBJECT_META = {"type": "object"}


def strict(schema):
    """Refuses what the schema does not name, at every depth."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not open_ended:
        schema["additionalProperties"] = False
    return schema


def write(out, kind, group, version, schema):
    """Writes one kind's schema where kubeconform looks for it: it has the core group, which is "", as the version."""
    (out / f"{kind}-{group or version}-{version}.json".lower()).write_text(json.dumps(schema))


def of_kubernetes(out, path):
    """Every kind of swagger.json; the definitions, which refer to each other, are one file."""
    definitions = strict(json.loads(path.read_text())["definitions"]) | LOOSE
    (out / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, definition in definitions.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            reference = {"$ref": f"definitions.json#/definitions/{name}"}
            write(out, gvk["kind"], gvk["group"], gvk["version"], reference)


def of_crds(out, path):
    """Every version of the CRDs in a file."""
    for crd in yaml.safe_load_all(path.read_text()):
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": OBJECT_META}
            write(out, spec["names"]["kind"], spec["group"], version["name"], schema)


def main(out, *sources):
    """Reads each source by what it is."""
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    for source in map(pathlib.Path, sources):
        (of_kubernetes if source.suffix == ".json" else of_crds)(out, source)


main(*sys.argv[1:])
