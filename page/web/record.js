// What a run came to, from the lines of its record. The same as events/src/history.rs.

// Steps of which it is known where their time went: the newest.
const TIMES = 60;

export class Run {
  constructor() {
    this.plan = this.ring = this.phase = this.outcome = this.failed = null;
    this.steps = [];
    this.times = [];
    this.tests = [];
    this.faults = [];
    this.checkpoints = [];
    this.lastAt = 0;
  }

  // Takes lines in; one that is none, because its process ended while writing it, is passed over.
  take(text) {
    for (const line of text.split("\n")) {
      if (!line) continue;
      let event;
      try {
        event = JSON.parse(line);
      } catch {
        continue;
      }
      this.lastAt = event.at;
      this.event(event);
    }
  }

  event(event) {
    const last = this.steps.at(-1)?.step ?? 0;
    switch (event.event) {
      case "plan":
        this.plan = event;
        this.outcome = this.failed = null;
        break;
      case "ring":
        this.ring = event;
        break;
      case "phase":
        this.phase = event.phase;
        break;
      case "step":
        // Made again after a fault: what came after it is made again too.
        while (this.steps.length && this.steps.at(-1).step >= event.step) this.steps.pop();
        this.steps.push(event);
        break;
      case "times":
        this.times = this.times.filter((times) => times.step < event.step).slice(-TIMES);
        this.times.push(event);
        break;
      case "tested":
        this.tests = this.tests.filter((test) => test.step !== last);
        this.tests.push({ ...event, step: last });
        break;
      case "fault":
      case "recovered":
      case "checkpointFailed":
        this.faults.push({ ...event, step: last });
        break;
      case "checkpointed":
        this.checkpoints.push(event);
        break;
      case "trained":
      case "done":
        this.outcome = event;
        break;
      case "failed":
        this.failed = event;
        break;
    }
  }
}

export class Denied extends Error {}

// Follows a record: asks for what is new, from where it was read to.
export class Follower {
  constructor(token) {
    this.token = token;
    this.of = "0";
    this.next = "0";
    this.run = new Run();
    this.name = "";
    this.tries = false;
  }

  // Reads all that is new; gives whether anything was.
  async read() {
    let news = false;
    for (;;) {
      const answer = await fetch(`/record?of=${this.of}&from=${this.next}`, {
        headers: { Authorization: `Bearer ${this.token}` },
        cache: "no-store",
      });
      if (answer.status === 401) throw new Denied();
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      const of = answer.headers.get("x-of");
      const text = await answer.text();
      this.name = answer.headers.get("x-run");
      this.tries = answer.headers.get("x-tries") === "1";
      if (of !== this.of) {
        // Made anew, with less in it: told from the beginning.
        this.run = new Run();
        news = true;
      }
      const before = of === this.of ? this.next : "0";
      this.of = of;
      this.next = answer.headers.get("x-next");
      this.run.take(text);
      if (this.next === before) return news;
      news = true;
    }
  }
}
