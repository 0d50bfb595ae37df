// A step as a timeline of processes and lanes, and what each process did in it as a table.

import { element, ticks } from "./curves.js";

const [WIDTH, LEFT, RIGHT, TOP, ROW, BAR, THIN] = [1120, 118, 12, 8, 44, 18, 5];

const KINDS = {
  forward: { kind: "forward", name: "forward" },
  backward: { kind: "backward", name: "backward" },
  apply: { kind: "apply", name: "optimizer" },
  loss: { kind: "own", name: "loss" },
  inputs: { kind: "own", name: "batch" },
  forwardCame: { kind: "cells", above: -7, name: "activations come" },
  backwardCame: { kind: "cells", above: -7, name: "gradients come" },
  forwardSealed: { kind: "cells", above: BAR + 2, name: "activations sealed" },
  backwardSealed: { kind: "cells", above: BAR + 2, name: "gradients sealed" },
};
const PARTS = ["inputs", "forward", "backward", "apply", "sealing", "opening"];
const COMPUTED = ["inputs", "forward", "backward", "apply"];

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const end = ([, , at, took]) => at + took;

// The step of those at hand that took the median time.
export function typical(all, steps) {
  const period = new Map(steps.map((s) => [s.step, s.milliseconds]));
  const known = all.filter((times) => period.has(times.step)).sort((a, b) => period.get(a.step) - period.get(b.step));
  return known[known.length >> 1];
}

// The designer is there twice, as the ring's beginning and as its end.
const line = (row, doing, rows) => (row === 0 && ["loss", "forwardCame", "backwardSealed"].includes(doing) ? rows : row);

// Who sent what came to a row.
function sent(times, row, [doing, microBatch]) {
  const rows = times.rows.length;
  const [from, sealed] = doing === "forwardCame" ? [(row + rows - 1) % rows, "forwardSealed"] : [(row + 1) % rows, "backwardSealed"];
  const span = times.rows[from].spans.find((s) => s[0] === sealed && s[1] === microBatch);
  return span && [from, span];
}

// Draws one step, and pale what was done of others meanwhile.
export function drawStep(svg, times, others, names) {
  const rows = names.length;
  const length = Math.max(0.1, ...times.rows.map((row) => row.spans.reduce((most, span) => Math.max(most, end(span)), 0)));
  const x = (at) => LEFT + (at / length) * (WIDTH - LEFT - RIGHT);
  const y = (row) => TOP + row * ROW;
  const bottom = y(rows + 1);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${bottom + 26}`);
  svg.replaceChildren();
  for (const tick of ticks(0, length, 10)) {
    svg.append(element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: bottom }));
    svg.append(element("text", { x: x(tick), y: bottom + 18, "text-anchor": "middle" }, `${Number(tick.toFixed(3))} ms`));
  }
  [...names, names[0]].forEach((name, row) => {
    svg.append(element("rect", { class: "row", x: LEFT, y: y(row) + 11, width: WIDTH - LEFT - RIGHT, height: BAR }));
    svg.append(element("text", { x: LEFT - 8, y: y(row) + 24, "text-anchor": "end" }, name.slice(0, 16)));
  });
  times.rows.forEach((row, to) => {
    for (const came of row.spans.filter(([doing]) => doing.endsWith("Came"))) {
      const [from, span] = sent(times, to, came) ?? [];
      if (!span) continue;
      const kind = came[0] === "forwardCame" ? "forward" : "backward";
      const ends = { x1: x(end(span)), y1: y(line(from, span[0], rows)) + 20, x2: x(end(came)), y2: y(line(to, came[0], rows)) + 20 };
      svg.append(element("line", { class: `wire ${kind}`, ...ends }));
    }
  });
  for (const step of [...others, times]) {
    const shift = step.begun - times.begun;
    step.rows.forEach((row, i) => {
      for (const span of row.spans) {
        const [doing, microBatch, at, took] = span;
        const [from, to] = [Math.max(0, at + shift), Math.min(length, end(span) + shift)];
        if (to < from || !KINDS[doing]) continue;
        const { kind, name, above = 0 } = KINDS[doing];
        const box = { x: x(from), y: y(line(i, doing, rows)) + 11 + above, width: Math.max(0.8, x(to) - x(from)), height: kind === "cells" ? THIN : BAR };
        const shape = element("rect", { class: `did ${kind}${step === times ? "" : " pale"}`, ...box });
        shape.append(element("title", {}, `${names[i]}: ${name} of micro-batch ${microBatch}, step ${step.step}: ${took.toFixed(3)} ms`));
        svg.append(shape);
      }
    });
  }
}

// Medians of every process: its name, its parts in milliseconds, waiting, how well its clock is known.
export function processes(all, steps, names) {
  const period = new Map(steps.map((s) => [s.step, s.milliseconds]));
  return names.map((name, i) => {
    const rows = all.map((times) => [times.step, times.rows[i]]);
    const waits = rows.filter(([step]) => period.has(step)).map(([step, { sums }]) => Math.max(0, period.get(step) - COMPUTED.reduce((sum, part) => sum + sums[part], 0)));
    const errors = rows.map(([, row]) => row.error).filter((error) => error !== undefined);
    return [name, ...PARTS.map((part) => median(rows.map(([, row]) => row.sums[part]))), median(waits), median(errors)];
  });
}
