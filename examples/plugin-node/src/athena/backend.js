'use strict';

const { status } = require('@grpc/grpc-js');
const { Answer } = require('./answer');
const { check } = require('./capabilities');
const { CallError, toProto } = require('./errors');
const { clean } = require('./log');

// backendService is the Backend service of plugin.proto. Introspect is not offered:
// the capabilities say so.
function backendService(plugin, instances) {
  // Session carries one call after another. A call whose payload is large has parts set;
  // its last insert's payload follows in Parts.
  function Session(stream) {
    let call = null;
    let parts = [];
    stream.on('data', (message) => {
      if (message.call) {
        call = message.call;
        parts = [];
      } else {
        parts.push(message.part?.data);
      }
      const rows = call?.statements.at(-1)?.rows;
      if (!call || (call.parts && !rows)) {
        stream.emit('error', { code: status.INVALID_ARGUMENT, details: 'a part of no insert' });
        return;
      }
      if (call.parts) {
        if (!message.part?.last) return;
        rows.payload = Buffer.concat(parts);
      }
      stream.pause(); // until this call is answered
      answer(stream, call).finally(() => stream.resume());
    });
    stream.on('end', () => stream.end());
  }

  // answer runs a call and sends its answer. It does not throw: a failure is an answer too.
  async function answer(stream, call) {
    const control = new AbortController();
    const cancel = () => control.abort(canceled());
    const expire = () => control.abort(deadlineExceeded());
    const timers = [];
    let slot;
    try {
      slot = instances.begin(call, control, canceled());
      stream.on('cancelled', cancel);
      check(plugin.capabilities, call);
      // The call's deadline is for its head, the statement timeout for the whole answer.
      const forHead = call.deadline === '0' ? null : after(nanoseconds(call.deadline) - Date.now(), expire);
      const timeout = nanoseconds(call.session?.statement_timeout ?? 0);
      timers.push(forHead, timeout > 0 ? after(timeout, expire) : null);
      if (control.signal.aborted) throw Object.assign(control.signal.reason, { executed: 'EXECUTED_NO' });
      const rows = new Answer(stream, call.result, control.signal, () => clearTimeout(forHead));
      await slot.instance.execute(call, rows);
      await rows.end();
    } catch (err) {
      if (!stream.cancelled) stream.write({ error: toProto(err, clean), last: true });
    } finally {
      timers.forEach((timer) => clearTimeout(timer));
      stream.off('cancelled', cancel);
      if (slot) instances.end(call, slot);
    }
  }

  // Cancel comes on a stream of its own. The call's session answers the error.
  function Cancel({ request }, reply) {
    instances.cancel(request.id, canceled());
    reply(null, {});
  }

  async function Ping({ request }, reply) {
    let slot;
    try {
      slot = instances.use(request.instance, request.generation);
      await slot.instance.ping();
      reply(null, {});
    } catch (err) {
      reply(null, { error: toProto(err, clean) });
    } finally {
      if (slot) instances.done(slot);
    }
  }

  return { Session, Cancel, Ping };
}

// nanoseconds reads a number of them, and returns milliseconds.
function nanoseconds(text) {
  return Number(BigInt(text) / 1000000n);
}

// after calls f in some milliseconds, at once if there are none left.
function after(milliseconds, f) {
  if (milliseconds > 0) return setTimeout(f, Math.min(milliseconds, 2 ** 31 - 1));
  f();
  return null;
}

// What a call that was stopped has done by then is not known.
function canceled() {
  return new CallError('KIND_CANCELED', 'canceled', 'the call was cancelled', { executed: 'EXECUTED_UNKNOWN' });
}

function deadlineExceeded() {
  return new CallError('KIND_TIMEOUT', 'deadline_exceeded', 'the deadline passed before the answer', { executed: 'EXECUTED_UNKNOWN' });
}

module.exports = { backendService };
