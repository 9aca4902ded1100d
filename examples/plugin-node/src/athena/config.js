'use strict';

const { invalid } = require('./errors');

// readConfig checks the bytes of a config against a schema and fills in its defaults. The
// gateway has checked it already; this is for hosts that do not. It knows what our schemas
// use: strings, required, default. Its errors name keys and never show values.
function readConfig(schema, bytes) {
  let given;
  try {
    given = JSON.parse(bytes.length > 0 ? bytes.toString() : '{}');
  } catch {
    throw invalid('invalid_config', 'the config is not valid JSON');
  }
  if (given === null || typeof given !== 'object' || Array.isArray(given)) {
    throw invalid('invalid_config', 'the config must be a JSON object');
  }
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(schema.properties, key)) {
      throw invalid('invalid_config', `the config has an unknown key "${key}"; known are ${Object.keys(schema.properties).join(', ')}`);
    }
  }
  const config = {};
  for (const [key, property] of Object.entries(schema.properties)) {
    const value = given[key] ?? property.default;
    if (value === undefined) {
      if (schema.required.includes(key)) throw invalid('invalid_config', `the config lacks "${key}"`);
      continue;
    }
    if (typeof value !== 'string') throw invalid('invalid_config', `config key "${key}" must be a string`);
    config[key] = value;
  }
  return config;
}

// secretsOf are the values of a config's secret keys.
function secretsOf(schema, config) {
  return Object.keys(config).filter((key) => schema.properties[key].writeOnly).map((key) => config[key]);
}

module.exports = { readConfig, secretsOf };
