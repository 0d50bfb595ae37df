"""Checks MixNN's test vectors with nothing but docs/protocol.md: `check.py FILE`.

Prints what was checked and ends with 0, or names the first vector that does not hold and ends with 1.
"""

import base64
import hashlib
import json
import sys

import layout
from lane import CellKey, Lane, cut, join, link_tag
from primitives import Refused, ed25519_public, ed25519_sign, expand, need, public_key, rsapss_verify

hexed = bytes.fromhex
b64 = base64.b64decode


def same(found, expected, what):
    need(found == expected, f"{what} differs")


def told(bytes_, expected, what):
    same(len(bytes_), expected["used"], f"{what}: length")
    same(hashlib.sha256(bytes_).hexdigest(), expected["sha256"], f"{what}: SHA-256")
    if "start" in expected:
        same(bytes_[:64].hex(), expected["start"], f"{what}: start")


def pattern(length):
    return bytes(i % 251 for i in range(length))


def check_labels(v, labels):
    expected = {
        "letterInfo": "letter", "letterBody": "letter body", "hopSecret": "hop secret", "hopTag": "hop tag",
        "hopOpen": "hop open", "hopSeal": "hop seal", "hopLease": "hop lease", "generationKey": "generation key",
        "generationNext": "generation next", "podSetup": "pod setup", "shardInfo": "shard", "shardKey": "shard key",
        "admission": "admission",
    }  # fmt: skip
    same(labels, {k: b"mixnn v1 " + t.encode() for k, t in expected.items()}, "labels")


def check_hopSecrets(v, labels):
    for s in v:
        for name, label in (("tag", "hopTag"), ("open", "hopOpen"), ("seal", "hopSeal")):
            same(expand(hexed(s["secret"]), labels[label]).hex(), s[name], name)


def check_linkTags(v, labels):
    for t in v:
        same(link_tag(hexed(t["secret"]), t["number"]).hex(), t["tag"], f"tag of {t['number']}")


def check_ratchet(v, labels):
    seal = CellKey(expand(hexed(v["hopSecret"]), labels["hopSeal"]), v["epoch"], labels)
    for g in v["generations"]:
        secret, key = seal.generation(g["generation"])
        same((secret.hex(), key.hex()), (g["secret"], g["key"]), f"generation {g['generation']}")
    inner = pattern(v["innerLength"])
    for c in v["cells"]:
        tag = link_tag(hexed(v["outTag"]), c["number"])
        told(tag + seal.seal(c["number"], inner), c, f"cell {c['number']}")


def check_lanes(v, labels):
    for spec in v:
        lane = Lane(spec, labels)
        for id, message in enumerate(spec["messages"]):
            message_holds(lane, id, message, f"{spec['hops']} hops, message {id}")
        dummy = spec["dummy"]
        made = lane.receiver_half(dummy["number"], 1, bytes(16288))
        for used, link in zip(made, dummy["links"], strict=True):
            told(used, link, f"{spec['hops']} hops, dummy, link {link['link']}")
        same(lane.open_last_link(dummy["number"], made[-1]), None, "dummy")


def message_holds(lane, id, message, what):
    payload = hexed(message["payload"]) if "payload" in message else pattern(message["payloadPattern"])
    frames = cut(message["header"], id, payload)
    arrived = []
    for frame, cell in zip(frames, message["cells"], strict=True):
        number, links = cell["number"], cell["links"]
        made = lane.seal(number, frame)
        for used, link in zip(made, links, strict=True):
            told(used, link, f"{what}, cell {number}, link {link['link']}")
            if "bytes" in link:
                same(used, b64(link["bytes"]), f"{what}, link {link['link']}: bytes")
        arrived.append(open_hop_by_hop(lane, number, made, links, what))
    same(join(arrived), (message["header"], payload), f"{what}: joined")


def open_hop_by_hop(lane, number, made, links, what):
    """Opens the cell hop by hop, from the vectors' own bytes where they are there."""
    used = [b64(l["bytes"]) if "bytes" in l else m for l, m in zip(links, made)]
    for link in range(1, lane.crossing + 1):
        inner = lane.open_sender_link(link, number, used[link - 1])
        if link < lane.crossing:
            same(inner, used[link], f"{what}: what the relay on link {link} sends")
    return lane.open_last_link(number, used[-1])


def check_frames(v, labels):
    for f in v:
        data = hexed(f["data"])
        frame = layout.write_frame(f["header"], f["id"], f["index"], f["count"], data)
        same(frame, hexed(f["start"]).ljust(layout.FRAME, b"\0"), f["name"])
        same(hashlib.sha256(frame).hexdigest(), f["sha256"], f["name"])
        same(layout.read_frame(frame), (f["header"], f["id"], f["index"], f["count"], data), f["name"])


def check_refusedFrames(v, labels):
    for f in v:
        try:
            layout.read_frame(hexed(f["start"]).ljust(layout.FRAME, b"\0"))
        except Refused:
            continue
        raise Refused(f"read, but must not be: {f['why']}")


def check_tensors(v, labels):
    for t in v:
        read = layout.read_tensor(hexed(t["bytes"]))
        same(read, (t["dtype"], t["shape"], hexed(t["data"])), f"tensor {t['shape']}")


def check_control(v, labels):
    name = lambda m: m if isinstance(m, str) else next(iter(m))
    commands = ["assign", "halt", "rollback", "apply", "digest", "seal", "part", "restore", "finish"]
    same([name(c) for c in v["commands"]], commands, "commands")
    reports = [
        "hello", "ready", "halted", "heard", "norms", "applied", "rolledBack", "loss", "sealed", "took", 
        "restored", "digest", "failed",
    ]  # fmt: skip
    same([name(r) for r in v["reports"]], reports, "reports")


REGISTRATION = {
    "registration": {"protocolVersion", "class", "url", "suite", "publicKey"},
    "registered": {"id", "claim", "admissionKey"},
    "registeredRelay": {"id", "admissionKey"},
    "directory": {"epoch", "version", "nodes"},
    "head": {"term", "checkpoint", "step"},
    "advance": {"expected", "head"},
    "claims": {"claims"},
    "tokensRequest": {"blinded"},
    "tokens": {"signatures"},
    "refusal": {"reason", "message"},
}


def check_registration(v, labels):
    same({name: set(fields) for name, fields in v.items()}, REGISTRATION, "fields")
    id = base64.urlsafe_b64decode(v["registered"]["id"] + "==")
    same(id, bytes(range(16)), "node id")
    same(b64(v["registration"]["publicKey"]), bytes([9] * 32), "public key")
    detail = {"class", "suite", "publicKey", "hostDomain", "nodeDomain"}
    plain, full = v["directory"]["nodes"]
    same((set(plain), set(full)), ({"id", "url"}, {"id", "url", "detail"}), "entries")
    same(set(full["detail"]), detail, "detail")


def check_hopSetups(v, labels):
    for s in v:
        data = hexed(s["bytes"])
        expected = {k: x for k, x in s.items() if k != "bytes"}
        same((len(data), layout.read_hop_setup(data)), (76 if s["cover"] else 64, expected), f"hop set-up, role {s['role']}")


def check_podSetup(v, labels):
    data, claim, key = hexed(v["bytes"]), b64(v["claim"]), hexed(v["podPublicKey"])
    same(ed25519_public(hexed(v["claimSeed"])), claim, "claim")
    setup = layout.read_pod_setup(data, labels["podSetup"], claim, hexed(v["pod"]), key)
    same(setup, {k: v[k] for k in setup}, "pod set-up")
    signed = layout.signed_part(labels["podSetup"], key, data[:-64])
    same(ed25519_sign(hexed(v["claimSeed"]), signed), data[-64:], "signature")


def check_token(v, labels):
    message = labels["admission"] + hexed(v["nonce"]) + hexed(v["relay"])
    same(message.hex(), v["message"], "message of the token")
    rsapss_verify(b64(v["issuer"]), b64(v["signature"]), message)


def check_letters(v, labels):
    for l in v:
        private = hexed(l["privateKey"])
        same(public_key(l["suite"], private), b64(l["publicKey"]), f"{l['name']}: public key")
        opened = layout.open_letter(b64(l["letter"]), l["suite"], private, labels)
        same(opened["action"], l["action"], f"{l['name']}: action")
        if l["action"] == 2:
            found = (opened["text"].hex(), opened["hopSecret"].hex())
            same(found, (l["content"], l["hopSecret"]), l["name"])
            continue
        same(opened["next"].hex(), l["next"], "next node")
        same(hashlib.sha256(opened["text"]).hexdigest(), l["innerSha256"], "inner letter")
        inner = layout.open_letter(opened["text"], l["suite"], hexed(l["innerPrivateKey"]), labels)
        same((inner["action"], inner["text"].hex()), (2, l["innerContent"]), "inner content")


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    labels = {name: text.encode() for name, text in vectors["labels"].items()}
    parts = [name.removeprefix("check_") for name in globals() if name.startswith("check_")]
    if set(parts) != set(vectors) - {"description"}:
        print(f"parts: {sorted(set(parts) ^ set(vectors))} are missing or unknown")
        return 1
    for part in parts:
        try:
            globals()[f"check_{part}"](vectors[part], labels)
        except Exception as error:  # whatever goes wrong, the vector does not hold
            print(f"{part}: {type(error).__name__}: {error}")
            return 1
    print(f"{len(parts)} parts hold: {', '.join(parts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
