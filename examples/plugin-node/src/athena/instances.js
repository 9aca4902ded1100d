'use strict';

const { CallError, unknownInstance } = require('./errors');

// How many cancellations are remembered whose call has not come: they travel on another
// stream and may overtake it.
const MAX_EARLY = 1024;

// Instances are the open clients of this process, each under a name and a generation, and
// the calls under way. A gateway that replaces an instance opens the next generation beside
// it and closes the old one when its calls have gone over.
class Instances {
  constructor() {
    this.open = new Map(); // key -> slot
    this.calls = new Map(); // id -> AbortController of each call under way
    this.early = new Set(); // ids that were cancelled before their call came
    this.draining = false;
    this.drained = []; // functions to call when no call is under way
  }

  // add opens an instance. One in its place is closed when its calls have ended.
  async add(name, generation, instance) {
    const before = this.open.get(key(name, generation));
    this.open.set(key(name, generation), { name, generation, instance, uses: 0, idle: [] });
    if (before) await close(before);
  }

  // remove closes an instance when its calls have ended. One that is not open is closed.
  async remove(name, generation) {
    const slot = this.open.get(key(name, generation));
    this.open.delete(key(name, generation));
    if (slot) await close(slot);
  }

  // use keeps an instance open until done.
  use(name, generation) {
    const slot = this.open.get(key(name, generation));
    if (!slot) throw unknownInstance();
    slot.uses++;
    return slot;
  }

  done(slot) {
    slot.uses--;
    if (slot.uses === 0) slot.idle.forEach((resolve) => resolve());
  }

  // begin admits a call: what it returns is to be given to end.
  begin(call, control, canceled) {
    if (this.draining) throw new CallError('KIND_UNAVAILABLE', 'draining', 'the plugin is shutting down');
    const slot = this.use(call.instance, call.generation);
    this.calls.set(call.id, control);
    if (this.early.delete(call.id)) control.abort(canceled);
    return slot;
  }

  end(call, slot) {
    this.calls.delete(call.id);
    this.done(slot);
    if (this.calls.size === 0) this.drained.forEach((resolve) => resolve());
  }

  // cancel ends the call of an id, also if it is still on its way.
  cancel(id, reason) {
    if (this.calls.has(id)) {
      this.calls.get(id).abort(reason);
      return;
    }
    if (this.early.size >= MAX_EARLY) this.early.clear(); // of calls that had ended already
    this.early.add(id);
  }

  // drain refuses new calls and waits for those under way.
  async drain() {
    this.draining = true;
    if (this.calls.size > 0) await new Promise((resolve) => this.drained.push(resolve));
  }

  // metrics of all instances, as the protocol's messages.
  metrics() {
    return [...this.open.values()].flatMap(({ name, generation, instance }) =>
      instance.metrics().map((metric) => ({ ...metric, instance: name, generation })));
  }
}

async function close(slot) {
  if (slot.uses > 0) await new Promise((resolve) => slot.idle.push(resolve));
  slot.instance.close();
}

function key(name, generation) {
  return `${generation} ${name}`;
}

module.exports = { Instances };
