'use strict';

const crypto = require('node:crypto');
const { CallError, invalid, unsupported } = require('./athena/errors');
const { Journal } = require('./journal');
const { readRows } = require('./json');

const COLUMNS = [{ name: 'key', type: 'text' }, { name: 'value', type: 'json' }];

// openStore opens a store of pairs: tables of a text key and a JSON value. A table is there
// when something was inserted into it.
function openStore({ path, password }) {
  if (password && !path) throw invalid('invalid_config', 'config key "password" encrypts a file: give its path too');
  return new Store(path ? openJournal(path, password) : null);
}

function openJournal(path, password) {
  try {
    return new Journal(path, password);
  } catch (err) {
    if (!err.code) throw err; // not of the file system
    throw new CallError('KIND_UNAVAILABLE', 'cannot_open', `${path} cannot be opened: ${err.code}`, { log: err.message });
  }
}

class Store {
  constructor(journal) {
    this.journal = journal;
    this.tables = new Map(); // name -> Map of keys to the JSON text of their values
    this.refresh();
  }

  // execute answers the one statement of a call. What it throws is the answer's error.
  async execute(call, answer) {
    const [statement] = call.statements;
    if (!statement.table?.name) throw invalid('invalid_table_name', 'the statement names no table');
    if (statement.table.schema) throw unsupported('schemas');
    this.refresh();
    if (statement.verb === 'VERB_SELECT') await this.select(statement, answer);
    else await this.insert(statement, answer);
  }

  async select(statement, answer) {
    refuse(statement, ['order', 'page_token', 'key']);
    if (statement.count !== 'COUNT_NONE') throw unsupported('counting rows');
    const { name } = statement.table;
    const table = this.tables.get(name);
    if (!table) throw new CallError('KIND_NOT_FOUND', 'undefined_table', `table "${name}" does not exist`, { table: name });
    const columns = selected(statement.selection);
    const offset = Number(statement.offset ?? 0);
    const rows = matching(table, statement.filter).slice(offset, offset + Number(statement.limit ?? Infinity));

    answer.columns(columns);
    answer.tail.tables_read = [name];
    for (const row of rows) {
      if (!(await answer.row(columns.map((column) => cell(row, column))))) break;
    }
  }

  async insert(statement, answer) {
    const { name } = statement.table;
    if (!statement.rows) throw invalid('invalid_rows', 'the insert has no rows');
    const pairs = readRows(statement.rows.payload).map((fields) => pair(fields, statement.rows.columns));
    this.checkNew(name, pairs);

    // What the caller gets is written, and held, before anything is stored: it may fail.
    answer.hold();
    const columns = returned(statement);
    answer.columns(columns);
    for (const row of statement.returning === 'RETURNING_NONE' ? [] : pairs) {
      if (!(await answer.row(columns.map((column) => cell(row, column))))) break;
    }
    if (pairs.length > 0) this.store(name, pairs);
    answer.tail.affected = pairs.length;
    answer.tail.tables_written = [name];
    if (pairs.length === 1) answer.tail.keys = [{ name: 'key', value: pairs[0][0] }];
    await answer.release();
  }

  // store adds the pairs, all or none. Others may have been faster; with a file, also other
  // processes: whether the record counts is known when it is read back.
  store(name, pairs) {
    const record = { id: crypto.randomUUID(), name, pairs };
    this.journal?.add(record);
    const counts = this.journal ? this.refresh().has(record.id) : this.apply(record);
    if (!counts) throw exists(name);
  }

  // refresh takes over what was written to the file, by this process and by others. It
  // returns the ids of the records that counted.
  refresh() {
    const records = this.journal?.read() ?? [];
    return new Set(records.filter((record) => this.apply(record)).map(({ id }) => id));
  }

  // apply is false, and nothing changes, if one of the keys is taken.
  apply({ name, pairs }) {
    const table = this.tables.get(name) ?? new Map();
    if (pairs.some(([key]) => table.has(key))) return false;
    for (const [key, value] of pairs) table.set(key, value);
    this.tables.set(name, table);
    return true;
  }

  checkNew(name, pairs) {
    const keys = new Set(pairs.map(([key]) => key));
    if (keys.size < pairs.length || pairs.some(([key]) => this.tables.get(name)?.has(key))) throw exists(name);
  }

  ping() {
    this.journal?.check();
  }

  metrics() {
    let pairs = 0;
    for (const table of this.tables.values()) pairs += table.size;
    return [
      { name: 'pairs', help: 'Pairs that the store holds.', value: pairs },
      { name: 'tables', help: 'Tables that the store holds.', value: this.tables.size },
    ];
  }

  close() {
    this.journal?.close();
  }
}

// refuse throws if a statement has something that a store cannot do.
function refuse(statement, fields) {
  const given = fields.find((field) => statement[field].length > 0);
  if (given) throw unsupported(`${given.replace('_', ' ')} in a ${statement.verb.replace('VERB_', '').toLowerCase()}`);
}

// matching are the pairs of a table that a filter lets through: eq on the key, or several of
// them joined by and.
function matching(table, filter) {
  if (!filter) return [...table];
  const [key, ...others] = conditions(filter);
  return table.has(key) && others.every((other) => other === key) ? [[key, table.get(key)]] : [];
}

// conditions are the texts that the key must equal; null for one that nothing equals.
function conditions(filter) {
  if (filter.kind === 'FILTER_AND' && filter.children.length > 0) return filter.children.flatMap(conditions);
  const plain = filter.quantifier === 'QUANTIFIER_NONE' && filter.values.length === 1 && !filter.column_cast && !filter.value_cast;
  if (filter.kind !== 'FILTER_COMPARE' || !plain || filter.column?.name !== 'key') {
    throw unsupported('other filters than eq on the key');
  }
  const [value] = filter.values;
  return [value.hint === 'VALUE_NULL' ? null : value.text.toString()];
}

// selected are the columns that a selection names.
function selected(selection) {
  if (selection?.distinct) throw unsupported('distinct');
  if (!selection || selection.items.length === 0) return COLUMNS;
  return selection.items.flatMap((item) => {
    if (item.cast || item.cast_after || item.alias) throw unsupported('casts and aliases');
    return item.kind === 'ITEM_STAR' ? COLUMNS : [find(item.column.name)];
  });
}

function returned(statement) {
  if (statement.returning === 'RETURNING_NONE') return [];
  return statement.returning === 'RETURNING_KEYS' ? [find('key')] : selected(statement.selection);
}

function find(name) {
  const column = COLUMNS.find((one) => one.name === name);
  if (!column) throw noColumn(name);
  return column;
}

function cell([key, value], column) {
  return column.name === 'key' ? JSON.stringify(key) : value;
}

// pair makes a pair of the fields of a row, of which columns are to be stored.
function pair(fields, columns) {
  for (const name of columns) find(name);
  const text = columns.includes('key') ? fields.get('key') ?? 'null' : 'null';
  if (text === 'null') throw invalid('not_null_violation', 'the column "key" must not be null');
  const key = JSON.parse(text);
  if (typeof key !== 'string') throw invalid('invalid_key', 'a key must be a string', 'write it in quotes, as in {"key": "1"}');
  return [key, columns.includes('value') ? fields.get('value') ?? 'null' : 'null'];
}

function noColumn(name) {
  return invalid('undefined_column', `column "${name}" does not exist`, 'a store has the columns key and value');
}

function exists(table) {
  return new CallError('KIND_CONFLICT', 'unique_violation', 'a pair with this key exists already', { table, column: 'key' });
}

module.exports = { openStore };
