'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const { CallError, invalid } = require('./athena/errors');

const FORMAT = 'node-kv 1';

// Journal is a file of records, one a line, that are only ever added. Several processes may
// have it open: while a plugin is replaced, the old process and the new one both write. What
// counts is the order of the lines, which is the same for all who read them.
class Journal {
  // A password encrypts the records. The file is made if it is not there.
  constructor(path, password) {
    this.path = path;
    if (!fs.existsSync(path)) create(path, password);
    this.fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_APPEND);
    this.offset = 0; // of what lines has not returned
    this.unread = []; // what it has returned, and read has not
    try {
      this.unlock(password);
    } catch (err) {
      this.close();
      throw err;
    }
  }

  // unlock reads the first line, which says what the file is.
  unlock(password) {
    const [line, ...records] = this.lines();
    this.unread = records;
    const header = parse(line);
    if (header?.format !== FORMAT) throw invalid('not_a_store', `${this.path} is not a file of this plugin: name another one, or remove it`);
    if (Boolean(header.salt) !== Boolean(password)) {
      throw invalid('wrong_password', `${this.path} is ${header.salt ? '' : 'not '}encrypted: ${header.salt ? 'give its password' : 'leave the password out'}`);
    }
    this.key = makeKey(password, header.salt);
    if (this.key && decrypt(this.key, header.check) !== FORMAT) throw invalid('wrong_password', `the password is not that of ${this.path}`);
  }

  // read returns the records that were added since the last read, by whomever. A line that
  // was cut short, because its writer was killed, is none.
  read() {
    const lines = [...this.unread, ...this.lines()];
    this.unread = [];
    return lines.map((line) => parse(this.key ? decrypt(this.key, line) : line)).filter((record) => record !== null);
  }

  // lines returns the whole lines that were added since it was last asked.
  lines() {
    const added = fs.fstatSync(this.fd).size - this.offset;
    if (added <= 0) return [];
    const bytes = Buffer.alloc(added);
    const read = fs.readSync(this.fd, bytes, 0, added, this.offset);
    const end = bytes.lastIndexOf('\n', read - 1) + 1;
    this.offset += end;
    return bytes.toString('utf8', 0, end).split('\n');
  }

  // add writes a record and returns when it is on disk. It begins with a line break: the
  // line before it may have been cut short.
  add(record) {
    const text = JSON.stringify(record);
    const bytes = Buffer.from(`\n${this.key ? encrypt(this.key, text) : text}\n`);
    if (fs.writeSync(this.fd, bytes) < bytes.length) throw new Error(`${this.path} could not be written to the end`);
    fs.fdatasyncSync(this.fd);
  }

  check() {
    if (fs.existsSync(this.path)) return;
    throw new CallError('KIND_UNAVAILABLE', 'file_missing', `${this.path} is not there any more`);
  }

  close() {
    fs.closeSync(this.fd);
  }
}

// create makes the file with its first line, whole or not at all. Another process may be
// faster: then the file is that one's.
function create(path, password) {
  const salt = password ? crypto.randomBytes(16).toString('base64') : '';
  const check = password ? encrypt(makeKey(password, salt), FORMAT) : '';
  const temporary = `${path}.${crypto.randomUUID()}`;
  fs.writeFileSync(temporary, `${JSON.stringify({ format: FORMAT, salt, check })}\n`, { mode: 0o600 });
  try {
    fs.linkSync(temporary, path);
  } catch (err) {
    if (err.code !== 'EEXIST') throw err;
  } finally {
    fs.unlinkSync(temporary);
  }
}

// parse is null for what is no JSON.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function makeKey(password, salt) {
  return password ? crypto.scryptSync(password, salt, 32) : null;
}

// encrypt returns one line of base64: nonce, AES-256-GCM of text, tag.
function encrypt(key, text) {
  const nonce = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce);
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

// decrypt returns '' for what the key did not encrypt.
function decrypt(key, line) {
  const bytes = Buffer.from(line, 'base64');
  if (bytes.length < 28) return '';
  const decipher = crypto.createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
  decipher.setAuthTag(bytes.subarray(-16));
  try {
    return decipher.update(bytes.subarray(12, -16), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return '';
  }
}

module.exports = { Journal };
