// Makes dist/node-kv: the plugin, its modules and the protocol in one executable file.
'use strict';

const esbuild = require('esbuild');
const fs = require('node:fs');
const protobuf = require('protobufjs');

// A .proto file becomes the JSON that @grpc/proto-loader makes services of.
const protos = {
  name: 'protos',
  setup(build) {
    build.onLoad({ filter: /\.proto$/ }, ({ path }) => {
      const { root } = protobuf.parse(fs.readFileSync(path, 'utf8'), { keepCase: true });
      return { contents: JSON.stringify(root), loader: 'json' };
    });
  },
};

esbuild
  .build({
    entryPoints: ['src/main.js'],
    outfile: 'dist/node-kv',
    bundle: true,
    platform: 'node',
    target: 'node18',
    banner: { js: '#!/usr/bin/env node' },
    plugins: [protos],
    logLevel: 'warning',
  })
  .then(() => fs.chmodSync('dist/node-kv', 0o755))
  .catch(() => process.exit(1));
