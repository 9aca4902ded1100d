'use strict';

// CallError is an error that the gateway understands; it becomes an athena.plugin.v1.Error.
// Message, detail and hint are shown to callers; log is for the gateway's log alone.
class CallError extends Error {
  // kind is a KIND_... of the protocol, reason a stable symbol for programs.
  constructor(kind, reason, message, more = {}) {
    super(message);
    this.kind = kind;
    this.reason = reason;
    // EXECUTED_NO says that nothing was changed, so that the call may be made again.
    Object.assign(this, { executed: 'EXECUTED_NO' }, more);
  }
}

function invalid(reason, message, hint = '') {
  return new CallError('KIND_INVALID', reason, message, { hint });
}

function unsupported(what) {
  return new CallError('KIND_UNSUPPORTED', 'unsupported', `this backend does not support ${what}`);
}

function unknownInstance() {
  return new CallError('KIND_UNAVAILABLE', 'unknown_instance', 'the plugin has no such instance');
}

// toProto is the message for err, without secrets. An error that nobody classified shows
// callers no text of its own.
function toProto(err, clean) {
  if (!(err instanceof CallError)) {
    return { kind: 'KIND_INTERNAL', reason: 'internal', log: clean(String(err?.stack ?? err)) };
  }
  return {
    kind: err.kind,
    reason: err.reason,
    executed: err.executed,
    message: clean(err.message),
    hint: clean(err.hint ?? ''),
    log: clean(err.log ?? ''),
    table: err.table ?? '',
    column: err.column ?? '',
  };
}

module.exports = { CallError, invalid, unsupported, unknownInstance, toProto };
