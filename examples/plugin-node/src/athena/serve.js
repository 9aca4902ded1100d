'use strict';

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const { backendService } = require('./backend');
const goplugin = require('./goplugin');
const { Instances } = require('./instances');
const { pluginService } = require('./plugin');

// The gateway sets this variable to this value, so that nobody takes a plugin for a command.
const COOKIE = 'ATHENA_PLUGIN';
const COOKIE_VALUE = 'b6c7c1f0-7a54-4f5a-9a0e-2a3c0c4f7d11';

// A message may be as long; larger payloads come in parts.
const MAX_MESSAGE = 64 << 20;

// 64-bit numbers are strings of digits: JavaScript's numbers would round them.
const definitions = { keepCase: true, longs: String, enums: String, defaults: true };

const load = (json) => grpc.loadPackageDefinition(protoLoader.fromJSON(json, definitions));
const { athena } = load(require('../../../../sdk/pluginpb/plugin.proto'));
const { plugin: theirs } = load(require('../../proto/goplugin.proto'));
const { grpc: checks } = load(require('../../proto/health.proto'));

// serve runs a plugin until the gateway ends it. A plugin has
//
//   name, version  name is that of its file
//   capabilities   as in plugin.proto: what is not declared is refused before open's instance
//   schema         JSON Schema of a config; writeOnly marks secrets
//   open(config)   makes an instance: execute(call, answer), ping(), metrics(), close()
function serve(plugin) {
  if (process.env[COOKIE] !== COOKIE_VALUE) {
    console.error(`${plugin.name} is an Athena plugin and is not run by hand: put this file into the gateway's plugin directory.`);
    process.exit(1);
  }
  watchLifeline();

  const instances = new Instances();
  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  server.addService(athena.plugin.v1.Plugin.service, pluginService(plugin, instances));
  server.addService(athena.plugin.v1.Backend.service, backendService(plugin, instances));
  server.addService(checks.health.v1.Health.service, goplugin.health);
  server.addService(theirs.GRPCController.service, goplugin.controller);
  server.addService(theirs.GRPCStdio.service, goplugin.stdio);
  server.addService(theirs.GRPCBroker.service, goplugin.broker);

  // Only the gateway's user can enter the directory: no TLS.
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || os.tmpdir(), `plugin-${process.pid}`);
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err) {
      console.error(`cannot listen on ${socket}: ${err.message}`);
      process.exit(1);
    }
    // The handshake, the only line on stdout: version of the handshake, version of the
    // plugin's protocol, where to connect, and how to speak there.
    process.stdout.write(`1|1|unix|${socket}|grpc\n`);
  });
}

// watchLifeline ends the process when the gateway is gone, however it went: then the pipe,
// whose other end it holds, ends.
function watchLifeline() {
  const fd = Number(process.env.ATHENA_PLUGIN_LIFELINE ?? '');
  if (!fd) return; // started by a debugger
  const pipe = new net.Socket({ fd: reopen(fd), readable: true, writable: false });
  pipe.on('error', () => process.exit(1));
  pipe.on('close', () => process.exit(1));
  pipe.resume();
}

// reopen opens a pipe anew where that is possible. All plugins have inherited the same open
// pipe; Node would make it non-blocking for all of them.
function reopen(fd) {
  try {
    return fs.openSync(`/proc/self/fd/${fd}`, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch {
    return fd;
  }
}

module.exports = { serve };
