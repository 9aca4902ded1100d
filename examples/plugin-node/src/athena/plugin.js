'use strict';

const { status } = require('@grpc/grpc-js');
const { readConfig, secretsOf } = require('./config');
const { toProto } = require('./errors');
const { clean, hide, log, setLevel } = require('./log');

// pluginService is the Plugin service of plugin.proto.
function pluginService(plugin, instances) {
  // Describe is asked before anything is opened, and opens nothing.
  function Describe(_, reply) {
    reply(null, {
      name: plugin.name, // the name of the plugin's file
      version: plugin.version,
      sdk: '1.0', // of the protocol's features
      capabilities: plugin.capabilities,
      config_schema: Buffer.from(JSON.stringify(plugin.schema)),
    });
  }

  // OpenInstance is the only place where secrets come in. What fails is an error in the
  // answer, not one of gRPC: that would mean a plugin that does not speak the protocol.
  async function OpenInstance(call, reply) {
    const { request } = call;
    try {
      const config = readConfig(plugin.schema, request.config);
      hide(secretsOf(plugin.schema, config)); // before anything can go wrong with them
      const instance = await plugin.open(config);
      if (call.cancelled) { // nobody will ever ask for it
        instance.close();
        return;
      }
      await instances.add(request.instance, request.generation, instance);
      log('debug', 'opened', { client: request.instance, generation: request.generation });
      reply(null, { capabilities: plugin.capabilities });
    } catch (err) {
      reply(null, { error: toProto(err, clean) });
    }
  }

  async function CloseInstance({ request }, reply) {
    try {
      await instances.remove(request.instance, request.generation);
      reply(null, {});
    } catch (err) {
      reply(null, { error: toProto(err, clean) });
    }
  }

  // Watch beats at once and then every second. A gateway that hears nothing for three
  // seconds takes the process for frozen and kills it: nothing may block the event loop.
  function Watch(stream) {
    const beat = () => stream.write({ calls: instances.calls.size });
    const timer = setInterval(beat, 1000);
    stream.on('cancelled', () => clearInterval(timer));
    beat();
  }

  function CollectMetrics(_, reply) {
    reply(null, { metrics: instances.metrics() });
  }

  async function Drain(_, reply) {
    await instances.drain();
    reply(null, {});
  }

  function SetLogLevel({ request }, reply) {
    if (setLevel(request.level)) reply(null, {});
    else reply({ code: status.INVALID_ARGUMENT, details: `unknown log level "${request.level}"` });
  }

  return { Describe, OpenInstance, CloseInstance, Watch, CollectMetrics, Drain, SetLogLevel };
}

module.exports = { pluginService };
