// The ring as the owner sees it, and as one host or relay does.
//
// A pod or a relay sees who is before and after it on a lane, by address. A pod is told which of its lanes carry
// what; a relay only which part of a lane it is. Neither is told names of layers, or what is further away.

import { element } from "./curves.js";

const [SIZE, MIDDLE, OUTER, INNER] = [440, 220, 176, 84];
export const brief = (id) => id.slice(0, 6);

// Nodes by name: "d" is the designer, "l0" a layer's pod, "r0" a relay.
function places(ring) {
  const around = ring.layers.length + 1;
  const at = (i, of, radius, turn) => {
    const angle = ((i + turn) / of) * 2 * Math.PI - Math.PI / 2;
    return [MIDDLE + radius * Math.cos(angle), MIDDLE + radius * Math.sin(angle)];
  };
  const out = new Map([["d", at(0, around, OUTER, 0)]]);
  ring.layers.forEach((_, i) => out.set(`l${i}`, at(i + 1, around, OUTER, 0)));
  ring.relays.forEach((_, i) => out.set(`r${i}`, at(i, ring.relays.length, INNER, 0.5)));
  return out;
}

// The hops of a lane, from node to node.
function hops(lane) {
  const end = (layer) => (layer === undefined ? "d" : `l${layer}`);
  const way = [end(lane.from), ...lane.relays.map((r) => `r${r}`), end(lane.to)];
  return way.slice(1).map((to, i) => ({ role: lane.role, from: way[i], to }));
}

export const touches = (hop, viewer) => hop.from === viewer || hop.to === viewer;
export const allHops = (ring) => ring.lanes.flatMap(hops);

function label(ring, node) {
  const index = Number(node.slice(1));
  if (node === "d") return "designer";
  return node[0] === "l" ? ring.layers[index].name : `R${index + 1}`;
}

const idOf = (ring, node) =>
  node === "d" ? "a node" : brief(node[0] === "l" ? ring.layers[Number(node.slice(1))].pod.id : ring.relays[Number(node.slice(1))].id);

// Draws the ring for its owner (no viewer), or as the viewer sees it.
export function drawRing(svg, ring, viewer) {
  const at = places(ring);
  const mine = allHops(ring).filter((hop) => !viewer || touches(hop, viewer));
  const known = new Set(viewer ? mine.flatMap((hop) => [hop.from, hop.to]) : at.keys());
  svg.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
  svg.replaceChildren();
  const drawn = new Set();
  for (const { role, from, to } of mine) {
    const kind = viewer?.[0] === "r" ? "seen" : role;
    const key = `${kind} ${from} ${to}`;
    if (drawn.has(key)) continue;
    drawn.add(key);
    const [[x1, y1], [x2, y2]] = [at.get(from), at.get(to)];
    svg.append(element("line", { class: `hop ${kind}`, x1, y1, x2, y2 }));
  }
  const nodes = element("g", { class: "nodes" });
  for (const [node, [x, y]] of at) {
    const kind = { d: "designer", l: "layer", r: "relay" }[node[0]];
    const self = node === viewer ? " self" : "";
    const shape = viewer && !self ? "relay" : kind;
    const text = viewer && !self ? idOf(ring, node) : viewer ? "itself" : label(ring, node);
    const width = Math.max(30, 8 * text.length + 14);
    const box = shape === "relay" ? { x: x - width / 2, y: y - 14, width, height: 28, rx: 14 } : { x: x - width / 2, y: y - 14, width, height: 28, rx: 5 };
    const group = element("g", known.has(node) ? {} : { class: "unseen" });
    group.append(element("rect", { class: `node ${viewer && !self ? "" : kind}${self}`, ...box }));
    group.append(element("text", { class: self, x, y: y + 4 }, text));
    nodes.append(group);
  }
  svg.append(nodes);
}

// All whom the owner may look over the shoulder of.
export function viewers(ring) {
  const layers = ring.layers.map((layer, i) => [`l${i}`, `the host of ${layer.name}'s pod (${layer.pod.host})`]);
  return [...layers, ...ring.relays.map((relay, i) => [`r${i}`, `relay R${i + 1} (${relay.host})`])];
}

// What a viewer sees, in sentences.
export function says(ring, viewer) {
  const mine = allHops(ring).filter((hop) => touches(hop, viewer));
  const names = (nodes) => [...new Set(nodes)].map((node) => idOf(ring, node)).join(", ");
  const before = names(mine.filter((hop) => hop.to === viewer).map((hop) => hop.from));
  const after = names(mine.filter((hop) => hop.from === viewer).map((hop) => hop.to));
  const index = Number(viewer.slice(1));
  if (viewer[0] === "r") {
    const lanes = mine.filter((hop) => hop.to === viewer).length;
    return [
      `Sees ${lanes} lanes: cells, all of one size, that come from ${before} and go on to ${after}; how many, and when. It is told whether it stands before the crossing of a lane, at it or after it.`,
      "Does not see what is in the cells, the other end of a lane, any layer, or which model it is. Without constant-rate cover, counts and times let it guess what a lane carries.",
    ];
  }
  const layer = ring.layers[index];
  const out = [
    `Sees its own layer: ${layer.ops.join(", ")}; samples of ${layer.input} in, ${layer.output} out; its ${layer.parameters} parameters, all inputs, outputs and gradients. Cells come from ${before} and leave for ${after}.`,
    "Is not told the layer's name, its place among the others (shapes and waiting times let it guess), whose model it is, anything of any other layer, or where its neighbours run.",
  ];
  if (index === 0) out.push("As it is the first layer, its inputs are the training data.");
  if (index === ring.layers.length - 1) out.push("As it is the last layer, labels can be told from the gradient that comes to it.");
  return out;
}
