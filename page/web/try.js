// The box to try a picture: draw one (mouse, touch, pen or keys), or take one from a file; ask what the model takes
// it for.

const [GRID, SHOWN] = [28, 8];
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Box {
  // `at` finds the parts of the page; `token` gives the token.
  constructor(at, token) {
    this.at = at;
    this.token = token;
    this.canvas = at("paper");
    this.pen = this.canvas.getContext("2d");
    this.cell = this.canvas.width / GRID;
    this.spot = [GRID >> 1, GRID >> 1];
    this.down = false;
    this.file = undefined;
    this.clear();
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.mark());
    this.canvas.addEventListener("blur", () => this.lift());
    at("picture").addEventListener("change", () => this.load());
    at("clear").addEventListener("click", () => this.clear());
    at("try").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  clear() {
    this.file = undefined;
    this.at("picture").value = "";
    this.pen.fillStyle = "#000000";
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.at("cursor").hidden = true;
    this.at("verdict").hidden = true;
    this.say("");
  }

  say(text, kind = "") {
    this.at("try-says").textContent = text;
    this.at("try-says").className = kind;
  }

  // Where on the paper, in its own pixels.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  stroke(from, to) {
    // What is drawn now is what is asked about, not the file of before.
    this.file = undefined;
    this.at("picture").value = "";
    Object.assign(this.pen, { strokeStyle: this.at("ink").value, lineWidth: 2.2 * this.cell, lineCap: "round", lineJoin: "round" });
    this.pen.beginPath();
    this.pen.moveTo(...from);
    this.pen.lineTo(...to);
    this.pen.stroke();
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.stroke(this.last, this.last);
  }

  drag(event) {
    const now = this.place(event);
    this.stroke(this.last ?? now, now);
    this.last = now;
  }

  key(event) {
    const centre = () => this.spot.map((place) => (place + 0.5) * this.cell);
    const [x, y] = KEYS[event.key] ?? [0, 0];
    if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.stroke(centre(), centre());
    } else if (x || y) {
      const before = centre();
      this.spot = [this.spot[0] + x, this.spot[1] + y].map((place) => Math.min(GRID - 1, Math.max(0, place)));
      if (this.down) this.stroke(before, centre());
    } else return;
    event.preventDefault();
    this.mark();
  }

  // Where the pen of the keys is, on top of the paper: not a part of the picture.
  mark() {
    const { style } = this.at("cursor");
    style.left = `${(100 * this.spot[0]) / GRID}%`;
    style.top = `${(100 * this.spot[1]) / GRID}%`;
    this.at("cursor").hidden = false;
    this.say(`Pen ${this.down ? "down" : "up"}, row ${this.spot[1] + 1}, column ${this.spot[0] + 1} of ${GRID}.`);
  }

  lift() {
    this.down = false;
    this.at("cursor").hidden = true;
  }

  async load() {
    const [file] = this.at("picture").files;
    if (!file) return;
    this.at("verdict").hidden = true;
    try {
      const picture = await createImageBitmap(file);
      this.pen.drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
      this.file = file;
      this.say(`${file.name}: ${picture.width} by ${picture.height}.`);
    } catch {
      this.say(`${file.name} is no picture that this browser can read: take a PNG or JPEG file.`, "bad");
    }
  }

  async ask() {
    const drawn = () => new Promise((done) => this.canvas.toBlob(done, "image/png"));
    this.say("Asking.");
    try {
      const body = this.file ?? (await drawn());
      const answer = await fetch("/try", { method: "POST", body, headers: { Authorization: `Bearer ${this.token()}` } });
      const said = await answer.json().catch(() => ({ error: answer.statusText }));
      if (!answer.ok) return this.say(`No answer: ${said.error}`, "bad");
      this.show(said);
    } catch {
      this.say("No answer: the run's page is not reachable.", "bad");
    }
  }

  show({ model, version, answer, classes }) {
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    this.at("answers").replaceChildren(
      ...classes.slice(0, SHOWN).map((share) => {
        const row = document.createElement("tr");
        const [name, value, bar] = ["th", "td", "td"].map((kind) => document.createElement(kind));
        name.scope = "row";
        name.textContent = share.class;
        value.textContent = percent(share.probability);
        const meter = document.createElement("meter");
        meter.value = share.probability;
        meter.setAttribute("aria-hidden", "true");
        bar.append(meter);
        row.append(name, value, bar);
        return row;
      }),
    );
    this.at("verdict").hidden = false;
    this.say(`${answer}, ${percent(classes[0]?.probability ?? 0)}: says ${model}, ${version}.`, "good");
  }
}
