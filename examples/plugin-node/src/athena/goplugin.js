'use strict';

// The services that hashicorp/go-plugin, which starts the process, asks for by itself.

const health = { Check: (_, reply) => reply(null, { status: 'SERVING' }) };

// Shutdown comes when all calls have ended; who does not end within two seconds is killed.
const controller = {
  Shutdown(_, reply) {
    reply(null, {});
    setImmediate(() => process.exit(0));
  },
};

// Both streams stay open and carry nothing.
const stdio = { StreamStdio() {} };
const broker = {
  StartStream(stream) {
    stream.on('end', () => stream.end());
    stream.resume();
  },
};

module.exports = { health, controller, stdio, broker };
