"""The binary layouts of docs/protocol.md: frames, set-ups, letters, tensors."""

import hashlib
import struct

from primitives import SUITES, TAG, Context, ed25519_verify, gcm_open, need

CELL, FRAME, FRAME_HEADER, FRAME_DATA = 16384, 16264, 40, 16224
MAX_QUOTA = 65536
COVER = 0
VERSION = 1


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(self.at + n <= len(self.data), "too short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def end(self):
        need(self.at == len(self.data), "trailing bytes")


def write_frame(header, id, index, count, data):
    start = struct.pack(
        ">BBHIIQIQII",
        header["kind"], 0, len(data),
        header["term"], header["attempt"], header["step"], header["microBatch"],
        id, index, count,
    )  # fmt: skip
    return (start + data).ljust(FRAME, b"\0")


def read_frame(frame):
    need(len(frame) == FRAME, "frame length")
    kind, reserved, length, term, attempt, step, micro_batch, id, index, count = struct.unpack(
        ">BBHIIQIQII", frame[:FRAME_HEADER]
    )
    need(kind <= 8, "kind")
    need(reserved == 0, "reserved byte")
    need(index < count, "index")
    need(length <= FRAME_DATA, "length")
    if kind == COVER:
        need(count == 1 and length == 0, "cover")
    elif index + 1 < count:
        need(length == FRAME_DATA, "frame that is not full")
    elif count > 1:
        need(length > 0, "empty last frame")
    end = FRAME_HEADER + length
    need(not any(frame[end:]), "padding")
    header = {
        "kind": kind, "term": term, "attempt": attempt, "step": step, "microBatch": micro_batch,
    }  # fmt: skip
    return header, id, index, count, frame[FRAME_HEADER:end]


def read_hop_setup(data):
    r = Reader(data)
    need(r.number(1) == 1, "content kind")
    role, layers = r.number(1), r.number(1)
    need(r.number(1) == 0, "reserved byte")
    epoch, quota, idle = r.number(4), r.number(4), r.number(4)
    next, out_tag = r.take(16), r.take(32)
    cover = read_cover(r) if role == 4 else None
    r.end()
    need(1 <= quota <= MAX_QUOTA, "quota")
    need(layers in {1: (2, 3), 2: (1,), 3: (1, 2), 4: (1,)}.get(role, ()), "role or layers")
    if role == 1:
        need(not any(out_tag), "out tag of a sender")
    return {
        "role": role, "layers": layers, "epoch": epoch, "quota": quota, "idleSeconds": idle,
        "next": next.hex(), "outTag": None if role == 1 else out_tag.hex(), "cover": cover,
    }  # fmt: skip


def read_cover(r):
    period, start, stop = r.number(4), r.number(4), r.number(4)
    need(100 <= period <= 10_000_000, "period")
    need(0 < stop - start <= 172_800, "start and stop")
    return {"period": period, "start": start, "stop": stop}


def read_lane_end(r):
    direction, role, epoch = r.number(1), r.number(1), r.number(4)
    need(direction <= 2, "direction")
    need(1 <= role <= 4, "lane role")
    end = {"direction": direction, "role": role, "epoch": epoch}
    if direction != 1:
        end |= {"first": r.take(16).hex(), "e2e": r.take(32).hex()}
    else:
        end |= {"quota": r.number(4), "e2e": r.take(32).hex(), "linkTag": r.take(32).hex()}
        need(1 <= end["quota"] <= MAX_QUOTA, "quota")
    layers = r.number(1)
    need(1 <= layers <= 3, "layers")
    secret = lambda: r.take(32).hex()
    end["layers"] = [secret() if direction == 1 else [secret(), secret()] for _ in range(layers)]
    if direction != 1:
        end["cover"] = read_cover(r) if direction == 2 else None
    return end


def signed_part(label, public_key, content):
    return label + hashlib.sha256(public_key).digest() + content


def read_pod_setup(data, label, claim, pod, public_key):
    need(len(data) > 64, "too short for a signature")
    content, signature = data[:-64], data[-64:]
    ed25519_verify(claim, signature, signed_part(label, public_key, content))
    r = Reader(content)
    need(r.number(1) == 2, "content kind")
    term, sequence = r.number(4), r.number(4)
    need(r.take(16) == pod, "another pod")
    layer_key = r.take(32)
    lanes = [read_lane_end(r) for _ in range(r.number(1))]
    r.end()
    return {"term": term, "sequence": sequence, "layerKey": layer_key.hex(), "lanes": lanes}


def open_letter(letter, suite, private, labels):
    """One layer of a letter, of which the fill may be missing."""
    r = Reader(letter)
    start = r.take(2)
    need(start == bytes([VERSION, suite]), "version or suite")
    context = Context(suite, private, r.take(SUITES[suite][1]), labels["letterInfo"] + start[1:])
    head = Reader(context.open_first(start, r.take(308 + TAG)))
    action, reserved, length = head.number(1), head.number(1), head.number(2)
    next, token = head.take(16), head.take(288)
    head.end()
    need(reserved == 0, "reserved byte")
    need(action in (1, 2), "action")
    need(action == 1 or not any(next), "next")
    text = gcm_open(context.export(labels["letterBody"]), bytes(12), b"", r.take(length))
    hop_secret = context.export(labels["hopSecret"])
    return {"action": action, "next": next, "token": token, "text": text, "hopSecret": hop_secret}


def read_tensor(data):
    r = Reader(data)
    dtype, dimensions = r.number(1), r.number(1)
    need(dtype in (1, 2, 3), "dtype")
    need(dimensions <= 8, "dimensions")
    shape = [r.number(4) for _ in range(dimensions)]
    size = {1: 4, 2: 8, 3: 2}[dtype]
    for n in shape:
        size *= n
    elements = r.take(size)
    r.end()
    return dtype, shape, elements
