'use strict';

const { invalid, unsupported } = require('./errors');

// A chunk is sent when it has as many characters. What stays below is one message.
const CHUNK = 64 << 10;

// How many bytes of body a message has at most. A row may be longer.
const MAX_BODY = 4 << 20;

// How many bytes of a write's rows are held until it is done, unless the call says.
const MAX_HELD = 64 << 20;

const SHAPES = { FORMAT_ROWS: 'SHAPE_ROWS', FORMAT_OBJECT: 'SHAPE_OBJECT', FORMAT_NONE: 'SHAPE_VOID' };

// Answer writes what a call answers: chunks of head, pieces of the body, and tail. The body
// of rows is [{"a":1},{"a":2}], of one object {"a":1} or null. A backend names the columns,
// writes row after row, and may set fields of the tail.
class Answer {
  // signal ends the call; onHead is called when the head goes out.
  constructor(stream, options, signal, onHead) {
    this.stream = stream;
    this.signal = signal;
    this.onHead = onHead;
    this.format = options?.format ?? 'FORMAT_ROWS';
    if (!SHAPES[this.format]) throw unsupported(`answers in ${this.format.replace('FORMAT_', '')}`);
    this.stripNulls = options?.strip_nulls ?? false;
    this.maxRows = Number(options?.max_rows ?? 0) || Infinity;
    this.capRows = options?.cap_rows ?? false;
    this.maxHeld = Number(options?.max_bytes ?? 0) || MAX_HELD;
    this.head = { shape: SHAPES[this.format], columns: [] };
    this.headSent = false;
    this.tail = {};
    this.rows = 0;
    this.body = this.format === 'FORMAT_ROWS' ? '[' : '';
    this.held = null; // the chunks of a write that is not done
    this.heldLength = 0;
  }

  // columns names the columns: { name, type } each, before the first row.
  columns(columns) {
    this.head.columns = columns;
  }

  // row writes a row: for each column its value as JSON text. It waits for a reader who is
  // slower than the backend. It is false when the caller wants no more rows.
  async row(values) {
    if (this.rows >= this.maxRows) {
      if (this.capRows) return false;
      throw invalid('max_rows_exceeded', `the answer has more than ${this.maxRows} rows`, 'ask for fewer rows with limit, or page through them');
    }
    this.rows++;
    if (this.format === 'FORMAT_NONE') return true;
    if (this.format === 'FORMAT_OBJECT' && this.rows > 1) {
      throw invalid('more_than_one_row', 'the statement answered with more than one row where one was asked for', 'narrow the filter, or ask for rows');
    }
    const fields = [];
    this.head.columns.forEach(({ name }, i) => {
      if (!this.stripNulls || values[i] !== 'null') fields.push(`${JSON.stringify(name)}:${values[i]}`);
    });
    this.body += `${this.rows > 1 ? ',' : ''}{${fields.join()}}`;
    if (this.body.length >= CHUNK) await this.flush({});
    return true;
  }

  // hold keeps back what a write returns until release, when it is done.
  hold() {
    this.held = [];
  }

  async release() {
    const chunks = this.held;
    this.held = null;
    for (const chunk of chunks) await this.send(chunk);
  }

  // end closes the body and sends what is left, with the tail.
  async end() {
    if (this.format === 'FORMAT_ROWS') this.body += ']';
    if (this.format === 'FORMAT_OBJECT' && this.rows === 0) this.body = 'null';
    await this.flush({ tail: { ...this.tail, rows: this.rows }, last: true });
  }

  // flush passes on what is written, in messages that are not too long. end are the fields
  // of the last one.
  async flush(end) {
    let body = Buffer.from(this.body);
    this.body = '';
    this.heldLength += body.length;
    for (; body.length > MAX_BODY; body = body.subarray(MAX_BODY)) await this.put({ body: body.subarray(0, MAX_BODY) });
    await this.put({ ...end, body });
  }

  async put(chunk) {
    if (!this.headSent) chunk.head = this.head;
    this.headSent = true;
    if (!this.held) {
      await this.send(chunk);
      return;
    }
    this.held.push(chunk);
    if (this.heldLength > this.maxHeld) {
      throw invalid('returned_rows_too_large', `the rows that the write returns exceed ${this.maxHeld} bytes; nothing was written`, 'return fewer columns, or write fewer rows at a time');
    }
  }

  // send writes a chunk and waits until it is on its way: a reader who stalls must not make
  // the process hold the whole answer. After the last one there is nothing to wait for.
  send(chunk) {
    this.signal.throwIfAborted();
    if (chunk.head) this.onHead();
    if (chunk.last) {
      this.stream.write(chunk);
      return null;
    }
    return new Promise((resolve, reject) => {
      const stop = () => reject(this.signal.reason);
      this.signal.addEventListener('abort', stop, { once: true });
      this.stream.write(chunk, () => {
        this.signal.removeEventListener('abort', stop);
        resolve();
      });
    });
  }
}

module.exports = { Answer };
