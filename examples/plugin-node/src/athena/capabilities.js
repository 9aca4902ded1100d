'use strict';

const { invalid, unsupported } = require('./errors');

// How deep filters and selections may nest.
const MAX_DEPTH = 64;

// check refuses what the plugin did not declare in its capabilities (can), before the backend
// sees it.
function check(can, call) {
  if (call.statements.length === 0) throw invalid('no_statement', 'the call has no statement');
  const { tx, expect, session, result } = call;
  if (!can.transactions) {
    const inTx = tx && (tx.single || tx.isolation !== 'ISOLATION_DEFAULT' || tx.read_only || tx.deferrable || tx.rollback);
    const expects = expect && (expect.exactly_one || expect.max_affected !== undefined || expect.key_equals.length > 0);
    if (call.statements.length > 1 || inTx || expects) throw unsupported('transactions');
  }
  if (!can.sessions && session && (session.role || session.time_zone || session.settings.length > 0 || session.search_path.length > 0)) {
    throw unsupported('session settings');
  }
  if (result?.format === 'FORMAT_GEOJSON' && !can.geojson) throw unsupported('answers in GeoJSON');
  if (result?.format === 'FORMAT_RAW' && !can.raw) throw unsupported("answers of one column's bytes");
  if (result?.sql_headers && !can.sql_headers) throw unsupported('headers set by SQL');
  if (call.min_position && !can.positions) throw unsupported('waiting for a replication position');
  for (const statement of call.statements) checkStatement(can, statement);
}

function checkStatement(can, s) {
  if (!can.verbs.includes(s.verb)) throw unsupported(s.verb.replace('VERB_', '').toLowerCase());
  if (s.returning !== 'RETURNING_NONE' && !can.returning) throw unsupported('rows returned by a write');
  if (s.conflict && !can.conflict) throw unsupported('upserts');
  if (s.explain && !can.explain) throw unsupported('explain');
  if (s.verb === 'VERB_INSERT' && s.rows?.format === 'ROWSET_CSV' && !can.csv) throw unsupported('inserting CSV');
  checkSelection(can, s.selection, 0);
  checkFilter(can, s.filter, 0);
}

function checkSelection(can, selection, depth) {
  if (!selection) return;
  if (depth > MAX_DEPTH) throw tooDeep();
  if (selection.bucket && !can.aggregates) throw unsupported('time buckets');
  for (const item of selection.items) {
    if (item.aggregate && !can.aggregates) throw unsupported('aggregates');
    if (item.column?.path.length > 0 && !can.json_paths) throw unsupported('JSON paths');
    if (!item.relation) continue;
    if (!can.relations) throw unsupported('related tables');
    checkSelection(can, item.relation.selection, depth + 1);
    checkFilter(can, item.relation.filter, depth + 1);
  }
}

function checkFilter(can, filter, depth) {
  if (!filter) return;
  if (depth > MAX_DEPTH) throw tooDeep();
  if (filter.kind === 'FILTER_COMPARE') {
    if (!can.operators.includes(filter.operator)) throw unsupported(`the operator ${filter.operator}`);
    if (filter.column?.path.length > 0 && !can.json_paths) throw unsupported('JSON paths');
    if (filter.relation && !can.relations) throw unsupported('filters on related tables');
  }
  for (const child of filter.children) checkFilter(can, child, depth + 1);
}

function tooDeep() {
  return invalid('too_deep', `filters and selections nest at most ${MAX_DEPTH} deep`);
}

module.exports = { check };
