'use strict';

// The plugin's log: lines of hclog's JSON on stderr. The gateway reads level, message and
// fields of each and writes them into its own log. Nothing but the handshake goes to stdout.

const levels = ['trace', 'debug', 'info', 'warn', 'error'];
let lowest = levels.indexOf('debug');
let secrets = [];

// setLevel says what is worth a line from now on; false if there is no such level.
function setLevel(name) {
  if (!levels.includes(name)) return false;
  lowest = levels.indexOf(name);
  return true;
}

// hide makes every later line and error show *** instead of the texts. Shorter ones than
// four characters would tear ordinary words apart.
function hide(texts) {
  secrets = [...new Set([...secrets, ...texts.filter((text) => text.length >= 4)])];
  secrets.sort((a, b) => b.length - a.length); // the whole before its parts
}

// clean is text without secrets.
function clean(text) {
  for (const secret of secrets) text = text.replaceAll(secret, '***');
  return text;
}

function log(level, message, fields = {}) {
  if (levels.indexOf(level) < lowest) return;
  const line = { '@level': level, '@message': message, '@timestamp': new Date().toISOString(), ...fields };
  const withoutSecrets = (key, value) => (typeof value === 'string' ? clean(value) : value);
  process.stderr.write(JSON.stringify(line, withoutSecrets) + '\n');
}

module.exports = { log, setLevel, hide, clean };
