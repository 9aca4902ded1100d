'use strict';

const { invalid } = require('./athena/errors');

// A string, a sign, or a number or word.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// readRows reads the payload of an insert: a JSON object, or an array of objects. Of each it
// makes a Map of field names to the JSON text of the value, as it came: JSON.parse would
// round numbers of more than 15 digits.
function readRows(payload) {
  const text = payload.toString();
  const parsed = parse(text);
  const depthOfRows = Array.isArray(parsed) ? 2 : 1;
  const rows = [];
  let depth = 0;
  let field = '';
  let start = -1; // where the value of field begins
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    const inRow = depth === depthOfRows;
    switch (token) {
      case '{':
      case '[':
        depth++;
        if (depth === depthOfRows) rows.push(new Map());
        break;
      case ':':
        if (inRow) start = index + 1;
        break;
      case ',':
      case '}':
      case ']':
        if (inRow && start >= 0) {
          rows.at(-1).set(field, text.slice(start, index).trim());
          start = -1;
        }
        if (token !== ',') depth--;
        break;
      default:
        if (inRow && start < 0) field = JSON.parse(token);
    }
  }
  return rows;
}

// parse makes sure that text is what readRows expects.
function parse(text) {
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw invalid('invalid_rows', 'the rows are not valid JSON');
  }
  const rows = Array.isArray(parsed) ? parsed : [parsed];
  if (rows.some((row) => row === null || typeof row !== 'object' || Array.isArray(row))) {
    throw invalid('invalid_rows', 'the rows must be a JSON object, or an array of objects');
  }
  return parsed;
}

module.exports = { readRows };
