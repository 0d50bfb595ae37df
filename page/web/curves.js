// Curves as SVG: axes, at most 300 points a line, a dash where a fault was.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [560, 220, 56, 26, 10, 26];
const POINTS = 300;

export function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Fewer points: each the mean of those around it.
export function fewer(points) {
  const size = Math.ceil(points.length / POINTS);
  if (size <= 1) return points;
  const out = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size);
    const mean = part.reduce((sum, [, y]) => sum + y, 0) / part.length;
    out.push([part[part.length >> 1][0], mean]);
  }
  return out;
}

// Follows with a twentieth of each difference.
export function smooth(points) {
  let now;
  return points.map(([x, y]) => [x, (now = now === undefined ? y : now + 0.05 * (y - now))]);
}

export function ticks(low, high, count) {
  const span = high - low || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++) out.push(i * step);
  return out;
}

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
export const number = (value) => (value === 0 ? "0" : Math.abs(value) < 1e-3 ? value.toExponential(1) : short.format(value));

// Draws `lines`, each {kind, points, dots}, and dashes at the steps of `faults`.
export function draw(svg, lines, { faults = [], zero = false, last }) {
  const shown = lines.map((line) => ({ ...line, points: fewer(line.points.filter(([, y]) => Number.isFinite(y))) }));
  const ys = shown.flatMap((line) => line.points.map(([, y]) => y));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren();
  if (!ys.length) return;
  let low = zero ? 0 : ys.reduce((a, b) => Math.min(a, b));
  let high = ys.reduce((a, b) => Math.max(a, b));
  if (high === low) [low, high] = [Math.min(0, low), high || 1];
  const x = (step) => LEFT + (step / last) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  for (const tick of ticks(low, high, 6)) {
    svg.append(element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(element("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  for (const tick of ticks(0, last, 5)) {
    svg.append(element("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, number(tick)));
  }
  for (const step of faults) {
    svg.append(element("line", { class: "fault-line", x1: x(step), x2: x(step), y1: TOP, y2: HEIGHT - BOTTOM }));
  }
  for (const { kind, points, dots } of shown) {
    const path = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    svg.append(element("polyline", { class: `series ${kind}`, points: path }));
    if (dots) points.forEach(([step, value]) => svg.append(element("circle", { class: "dot", cx: x(step), cy: y(value), r: 4 })));
  }
}
