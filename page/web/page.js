// The page of a run: asks for what is new in its record once a second, and shows it.

import { draw, number, smooth } from "./curves.js";
import { Denied, Follower } from "./record.js";
import { brief, drawRing, says, viewers } from "./sees.js";
import { drawStep, processes, typical } from "./timeline.js";
import { Box } from "./try.js";

const EVERY = 1000;
const at = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");

function make(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The token comes behind # in the address, which no server is sent, and leaves it at once.
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return given ?? sessionStorage.getItem("token");
}

function say(text, kind = "") {
  // A screen reader reads it aloud only when it is another.
  if (at("state").textContent !== text) at("state").textContent = text;
  at("state").className = kind;
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;
const time = (milliseconds) => make("time", new Date(milliseconds).toLocaleTimeString(), { datetime: new Date(milliseconds).toISOString() });
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function duration(seconds) {
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const PHASES = { initialisation: "Pods are claimed, lanes drawn, layers dealt.", training: "Training.", testing: "Testing.", finishing: "Collecting digests and weights." };

function state(run) {
  if (run.failed) return say(`Failed: ${run.failed.message}`, "bad");
  if (run.outcome) return say(`Trained. Digest of the weights: ${run.outcome.digest.slice(0, 16)}.`, "good");
  const fault = run.faults.at(-1);
  if (fault?.event === "fault") return say(`A fault: ${fault.message}. The run recovers by itself.`, "bad");
  say(PHASES[run.phase] ?? "Waiting for the run's record.");
}

function figures(run) {
  const last = run.steps.at(-1);
  const [recent, plan, test] = [run.steps.slice(-100), run.plan, run.tests.at(-1)];
  const total = plan?.steps ?? 0;
  at("progress").max = total || 1;
  at("progress").value = last?.step ?? 0;
  const answers = recent.reduce((sum, s) => sum + s.answers, 0);
  const pace = recent.length ? mean(recent.map((s) => s.milliseconds)) : 0;
  const left = last && !run.outcome ? ((total - last.step) * pace) / 1000 : 0;
  const shown = [
    ["step", last && `${count.format(last.step)} of ${count.format(total)}`],
    ["epoch", last && plan && `${last.epoch} of ${plan.epochs}`],
    ["loss, last 100 steps", recent.length && number(mean(recent.map((s) => s.loss)))],
    ["accuracy, last 100 steps", answers && percent(recent.reduce((sum, s) => sum + s.correct, 0) / answers)],
    ["test accuracy", test?.answers && percent(test.correct / test.answers)],
    ["test loss", test && number(test.loss)],
    ["ms a step, last 100", recent.length && pace.toFixed(1)],
    ["steps left take about", left && duration(left)],
    ["layers", plan && count.format(plan.layers.length)],
    ["parameters", plan && count.format(plan.parameters)],
    ["samples, training + test", plan && `${count.format(plan.trainSamples)} + ${count.format(plan.testSamples)}`],
  ].filter(([, value]) => value);
  at("figures").replaceChildren(
    ...shown.map(([name, value]) => {
      const both = document.createElement("div");
      both.append(make("dt", name), make("dd", value));
      return both;
    }),
  );
}

function curves(run) {
  const of = (value) => run.steps.map((s) => [s.step, value(s)]);
  const faults = run.faults.filter((f) => f.event === "fault").map((f) => f.step);
  const last = Math.max(10, run.steps.at(-1)?.step ?? 1);
  const one = (id, lines, says, zero) => {
    draw(at(id), lines, { faults, last, zero });
    at(`${id}-says`).textContent = says;
  };
  const loss = smooth(of((s) => s.loss));
  const tests = (value) => run.tests.filter((t) => t.answers || value(t) !== null).map((t) => [t.step, value(t)]);
  one(
    "loss",
    [
      { kind: "raw", points: of((s) => s.loss) },
      { kind: "train", points: loss },
      { kind: "test", points: tests((t) => t.loss), dots: true },
    ],
    loss.length ? `now ${number(loss.at(-1)[1])}` : "",
  );
  const right = smooth(run.steps.filter((s) => s.answers).map((s) => [s.step, (100 * s.correct) / s.answers]));
  const tested = run.tests.filter((t) => t.answers).map((t) => [t.step, (100 * t.correct) / t.answers]);
  const says = tested.length ? `tested ${tested.at(-1)[1].toFixed(2)}` : "";
  one("accuracy", [{ kind: "train", points: right }, { kind: "test", points: tested, dots: true }], says);
  const times = of((s) => s.milliseconds);
  const sorted = times.map(([, ms]) => ms).sort((a, b) => a - b);
  // One pause would flatten all the rest: what is far above is cut off.
  const most = 3 * (sorted[sorted.length >> 1] ?? 1);
  const cut = times.map(([step, ms]) => [step, Math.min(ms, most)]);
  one("milliseconds", [{ kind: "raw", points: cut }, { kind: "train", points: smooth(cut) }], sorted.length ? `median ${sorted[sorted.length >> 1].toFixed(1)}` : "", true);
  const rates = of((s) => s.learningRate);
  one("rate", [{ kind: "train", points: rates }], rates.length ? `now ${number(rates.at(-1)[1])}` : "", true);
  at("tests").replaceChildren(
    ...run.tests.map((t) => {
      const row = document.createElement("tr");
      row.append(make("td", t.step), make("td", t.epoch), make("td", t.answers ? percent(t.correct / t.answers) : "–"), make("td", number(t.loss)));
      return row;
    }),
  );
}

const SPENT = {
  outputs: "waiting for outputs of the last layer (forward, and backward of earlier micro-batches)",
  loss: "computing losses, sealing gradients",
  inputs: "reading the next batch, sealing its inputs",
  commit: "waiting until every layer has applied the step (the last backward passes)",
  other: "the rest: checkpoints, events, waiting for a processor",
};

function spent(run) {
  const recent = run.steps.slice(-100).filter((s) => s.spent);
  at("spent-section").hidden = !recent.length;
  if (!recent.length) return;
  const whole = mean(recent.map((s) => s.milliseconds));
  const parts = Object.keys(SPENT).slice(0, -1).map((name) => [name, mean(recent.map((s) => s.spent[name]))]);
  parts.push(["other", Math.max(0, whole - parts.reduce((sum, [, ms]) => sum + ms, 0))]);
  at("spent-bar").replaceChildren(
    ...parts.map(([name, ms]) => {
      const part = make("div", "", { class: name });
      part.style.flexGrow = ms;
      return part;
    }),
  );
  at("spent").replaceChildren(
    ...parts.map(([name, ms]) => {
      const row = document.createElement("tr");
      const head = make("th", SPENT[name], { scope: "row" });
      head.prepend(make("span", "", { class: `chip ${name}` }));
      row.append(head, make("td", `${ms.toFixed(2)} ms`), make("td", `${((100 * ms) / whole).toFixed(0)} %`));
      return row;
    }),
  );
}

function timeline(run) {
  const names = ["designer", ...(run.plan?.layers ?? [])];
  const all = run.times.filter((times) => times.rows.length === names.length);
  const recent = run.steps.slice(-200);
  const step = typical(all, recent);
  at("timeline-part").hidden = !step;
  at("timeline-none").hidden = Boolean(step);
  if (!step) return;
  const milliseconds = recent.find((s) => s.step === step.step).milliseconds;
  at("timeline-says").textContent = `step ${step.step}, ${milliseconds.toFixed(1)} ms after the one before`;
  drawStep(at("timeline"), step, all.filter((times) => times !== step && Math.abs(times.step - step.step) < 3), names);
  at("processes").replaceChildren(
    ...processes(all, recent, names).map(([name, ...values]) => {
      const row = document.createElement("tr");
      row.append(make("th", name, { scope: "row" }), ...values.map((ms) => make("td", ms === undefined ? "?" : ms ? ms.toFixed(2) : "–")));
      return row;
    }),
  );
}

let drawnRing;

function sees(run) {
  at("sees-section").hidden = !run.ring;
  if (!run.ring || drawnRing === run.ring) return;
  drawnRing = run.ring;
  const [chosen, ring] = [at("viewer").value, run.ring];
  at("viewer").replaceChildren(...viewers(ring).map(([value, text]) => make("option", text, { value })));
  if (chosen) at("viewer").value = chosen;
  if (!at("viewer").value) at("viewer").selectedIndex = 0;
  drawRing(at("ring-owner"), ring);
  overTheShoulder();
  at("layers").replaceChildren(
    ...ring.layers.map((layer) => {
      const row = document.createElement("tr");
      row.append(make("th", layer.name, { scope: "row" }));
      const cells = [layer.ops.join(", "), layer.input, layer.output, count.format(layer.parameters), brief(layer.pod.id), layer.pod.host];
      row.append(...cells.map((text) => make("td", text)));
      return row;
    }),
  );
}

function overTheShoulder() {
  const viewer = at("viewer").value;
  at("viewer-name").textContent = at("viewer").selectedOptions[0]?.textContent.replace(/^t/, "T").replace(/^r/, "R") ?? "";
  drawRing(at("ring-viewer"), drawnRing, viewer);
  at("viewer-says").replaceChildren(...says(drawnRing, viewer).map((text) => make("p", text)));
}

function privacy(run) {
  const mode = run.plan?.mode?.distributed;
  if (!mode) return at("privacy").replaceChildren(make("p", run.plan ? "All in one process: nothing is hidden from anyone." : "Not known yet."));
  const { cover, kLeast, kMedian, cellsPerSecond, controlCellsPerSecond, sentence } = mode.privacy;
  const figures = document.createElement("dl");
  figures.className = "figures";
  const rate = cellsPerSecond ? `${cover}, ${cellsPerSecond} cells/s, ${controlCellsPerSecond} on control lanes` : cover;
  for (const [name, value] of [
    ["relays", mode.relays],
    ["hops of a lane", mode.hops],
    ["suite", mode.suite],
    ["cover", rate],
    ["k: lanes among which one lies, at least", kLeast],
    ["k, median", kMedian],
  ]) {
    const both = document.createElement("div");
    both.append(make("dt", name), make("dd", value));
    figures.append(both);
  }
  const warnings = mode.warnings.map((text) => make("p", `Warning: ${text}`));
  at("privacy").replaceChildren(figures, make("p", `${sentence.replace(/^./, (c) => c.toUpperCase())}.`), ...warnings);
}

function story(event) {
  if (event.event === "fault") return event.message;
  if (event.event === "checkpointFailed") return `No checkpoint after step ${event.step}: ${event.message}.`;
  const again = event.committed - event.resumedAfter;
  const layers = event.layers.length ? ` Another pod for ${event.layers.join(", ")}.` : "";
  return `Goes on after ${event.milliseconds.toFixed(0)} ms: ${again} steps are made again, ${event.lanes} lanes were drawn anew.${layers}`;
}

function lists(run) {
  const told = run.faults.slice(-200).reverse();
  at("faults").replaceChildren(
    ...(told.length ? told : [null]).map((event) => {
      if (!event) return make("li", "None.");
      const item = make("li", story(event));
      item.prepend(time(event.at));
      return item;
    }),
  );
  at("checkpoints").replaceChildren(
    ...run.checkpoints.slice(-20).reverse().map((c) => {
      const row = document.createElement("tr");
      row.append(make("td", c.number), make("td", c.step), make("td", `${(c.bytes / 1024).toFixed(0)} KiB`), make("td", `${c.milliseconds.toFixed(1)} ms`));
      const last = document.createElement("td");
      last.append(time(c.at));
      row.append(last);
      return row;
    }),
  );
}

function show(follower) {
  const run = follower.run;
  at("main").hidden = false;
  at("run").textContent = follower.name || "MixNN";
  at("try-section").hidden = !follower.tries;
  document.title = `${follower.name || "run"} – MixNN`;
  for (const part of [state, figures, curves, spent, timeline, sees, privacy, lists]) part(run);
}

async function follow(secret) {
  const follower = new Follower(secret);
  let stale = true;
  for (;;) {
    try {
      const news = await follower.read();
      // What is not looked at is not drawn.
      stale ||= news;
      if (stale && !document.hidden) {
        show(follower);
        stale = false;
      }
    } catch (error) {
      if (error instanceof Denied) return ask("This token is not known.");
      say("The run's page is not reachable: the run has ended, or is being taken over. It is tried again.", "bad");
      stale = true;
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

function ask(why) {
  sessionStorage.removeItem("token");
  at("main").hidden = true;
  at("door").hidden = false;
  say(why);
  at("token").focus();
}

at("viewer").addEventListener("change", overTheShoulder);
new Box(at, () => sessionStorage.getItem("token"));
at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  at("door").hidden = true;
  sessionStorage.setItem("token", at("token").value.trim());
  follow(at("token").value.trim());
});
const secret = token();
if (secret) follow(secret);
else ask("A token is needed.");
