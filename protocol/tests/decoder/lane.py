"""A whole lane, from docs/protocol.md: the sending end, every relay, the receiving end."""

from layout import FRAME_DATA, VERSION, read_frame, write_frame
from primitives import TAG, aes_block, expand, gcm_open, gcm_seal, need

SEALED_FRAME = 16288


def link_tag(secret, number):
    return aes_block(secret, number.to_bytes(16, "big"))


class CellKey:
    """S(s, n, x) and its inverse: the tag comes first."""

    def __init__(self, secret, epoch, labels):
        self.aad = bytes([VERSION]) + epoch.to_bytes(4, "big")
        self.labels, self.secrets = labels, [secret]

    def generation(self, g):
        while len(self.secrets) <= g:
            self.secrets.append(expand(self.secrets[-1], self.labels["generationNext"]))
        return self.secrets[g], expand(self.secrets[g], self.labels["generationKey"])

    def _key(self, number):
        return self.generation(number >> 24)[1], number.to_bytes(12, "big")

    def seal(self, number, text):
        sealed = gcm_seal(*self._key(number), self.aad, text)
        return sealed[-TAG:] + sealed[:-TAG]

    def open(self, number, sealed):
        return gcm_open(*self._key(number), self.aad, sealed[TAG:] + sealed[:TAG])


class Hop:
    def __init__(self, secret, epoch, labels):
        self.tag = expand(secret, labels["hopTag"])
        self.open = CellKey(expand(secret, labels["hopOpen"]), epoch, labels)
        self.seal = CellKey(expand(secret, labels["hopSeal"]), epoch, labels)


class Lane:
    def __init__(self, lane, labels):
        epoch = lane["epoch"]
        self.hops = [Hop(bytes.fromhex(s), epoch, labels) for s in lane["hopSecrets"]]
        self.e2e = CellKey(bytes.fromhex(lane["e2e"]), epoch, labels)
        self.last_tag = bytes.fromhex(lane["lastTag"])
        self.crossing = -(-len(self.hops) // 2)
        need(self.crossing == lane["crossing"], "crossing")

    def tag_into(self, link, number):
        """The tag of a cell on `link`: links are numbered from 1, and relay `link` receives it."""
        last = link > len(self.hops)
        return link_tag(self.last_tag if last else self.hops[link - 1].tag, number)

    def sender_half(self, number, frame):
        """O_1, .., O_c, F: what is used of the cell on each link, then the sealed frame."""
        inner = [number.to_bytes(8, "big") + self.e2e.seal(number, frame)]
        for j in range(self.crossing, 0, -1):
            sealed = self.hops[j - 1].open.seal(number, inner[0])
            inner.insert(0, self.tag_into(j, number) + sealed)
        return inner

    def receiver_half(self, number, mark, sealed_frame):
        """What is used of the cell on the links from the crossing relay's outgoing one on."""
        links, inner = [], bytes([mark]) + sealed_frame
        for i in range(self.crossing, len(self.hops) + 1):
            inner = self.hops[i - 1].seal.seal(number, inner)
            links.append(self.tag_into(i + 1, number) + inner)
        return links

    def seal(self, number, frame):
        """The used part of the cell on every link, nothing lost and no dummies on the way."""
        *links, sealed_frame = self.sender_half(number, frame)
        return links + self.receiver_half(number, 0, sealed_frame)

    def open_sender_link(self, link, number, used):
        """What the relay that receives `link` finds."""
        need(used[:TAG] == self.tag_into(link, number), "link tag")
        return self.hops[link - 1].open.open(number, used[TAG:])

    def open_last_link(self, number, used):
        """What the receiving end finds: a frame, or None for a dummy."""
        need(used[:TAG] == self.tag_into(len(self.hops) + 1, number), "link tag")
        inner = used[TAG:]
        for hop in reversed(self.hops[self.crossing - 1 :]):
            inner = hop.seal.open(number, inner)
        need(inner[0] <= 1, "mark")
        if inner[0] == 1:
            return None
        need(len(inner) == 1 + SEALED_FRAME, "length of the sealed frame")
        return self.e2e.open(int.from_bytes(inner[1:9], "big"), inner[9:])


def cut(header, id, payload):
    """The frames of a message."""
    count = max(1, -(-len(payload) // FRAME_DATA))
    part = lambda i: payload[i * FRAME_DATA : (i + 1) * FRAME_DATA]
    return [write_frame(header, id, i, count, part(i)) for i in range(count)]


def join(frames):
    """The message that these frames, in order, are."""
    parts = [read_frame(f) for f in frames]
    header, id, _, count, _ = parts[0]
    need(len(parts) == count, "number of frames")
    for i, (h, n, index, c, _) in enumerate(parts):
        need((h, n, index, c) == (header, id, i, count), "frames of different messages")
    return header, b"".join(data for *_, data in parts)
