'use strict';

const { serve } = require('./athena/serve');
const { openStore } = require('./kv');

serve({
  name: 'node-kv',
  version: '0.1.0',
  capabilities: { verbs: ['VERB_SELECT', 'VERB_INSERT'], operators: ['eq'], returning: true, ping: true },
  schema: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: {
      path: { type: 'string', format: 'path', description: 'File that holds the pairs; without it they are kept in memory, until the plugin is started again' },
      password: { type: 'string', writeOnly: true, description: 'Encrypts the file' },
    },
    required: [],
    additionalProperties: false,
  },
  open: openStore,
});
